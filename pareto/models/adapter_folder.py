"""Adapters in PEFT's layout: looked at before PEFT opens them, and whole when it has."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from pareto.errors import ArtifactError, ConfigError
from pareto.models.model_folder import check_code, check_links, read_settings
from pareto.models.tokenizers import first_line
from pareto.state import tensor_file

SETTINGS = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
REACHING = {
    "megatron_config": "would have a module imported",
    "megatron_core": "would have a module imported",
    "corda_config": "would have files read from anywhere",
    "lora_ga_config": "would have files read from anywhere",
    "loftq_config": "would change the base it stands on",
    "prompt_tuning_init_state_dict_path": "would have a pickle read",
    "tokenizer_name_or_path": "would have another tokenizer loaded",
    "tokenizer_kwargs": "would have another tokenizer loaded",
    "adapters": "would have other adapters loaded",
}
"""Settings of an adapter that reach beyond its folder -> what for."""
_USUAL = ("megatron.core", {})
"""What PEFT writes for some of them without being asked."""


def check_adapter_folder(folder: Path) -> None:
    """Refuse an adapter that would have code or files from beyond its folder loaded, or whose tensors are not sound.

    Args:
        folder: an adapter in PEFT's layout.

    Raises:
        ConfigError: with the file and the reason.
    """
    check_links(folder)
    for name in (SETTINGS, WEIGHTS):
        if not (folder / name).is_file():
            raise ConfigError(f"{folder} has no {name}; expected an adapter in PEFT's layout, as safetensors")
    settings = read_settings(folder / SETTINGS)
    for key, why in REACHING.items():
        if settings.get(key) and settings[key] not in _USUAL:
            raise ConfigError(
                f"{folder / SETTINGS} sets {key}, which {why}; only adapters that are whole in their folder are loaded: merge "
                "it where it was trained and give the whole model"
            )
    check_code(folder / SETTINGS, settings)
    try:
        tensor_file.check_tensors(folder / WEIGHTS)
    except ArtifactError as error:
        raise ConfigError(str(error)) from error


def load_adapter(model: Any, folder: Path, *, trainable: bool = False) -> Any:
    """Put a stored adapter on a model; every tensor of the one has its place in the other.

    Args:
        model: the base model; it becomes part of the result.
        folder: an adapter in PEFT's layout.
        trainable: whether its parameters are to be trained on.

    Raises:
        ConfigError: no adapter there, one that reaches beyond its folder, or one of another model.
    """
    from peft import PeftModel, get_peft_model_state_dict
    from safetensors import safe_open

    check_adapter_folder(folder)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # missing tensors are an error below, not a warning
            adapted = PeftModel.from_pretrained(model, str(folder), is_trainable=trainable)
            there = set(get_peft_model_state_dict(adapted))
    except Exception as error:  # PEFT raises whatever it meets where settings and model disagree
        raise ConfigError(f"the adapter {folder} does not fit the model: {first_line(error)}") from error
    with safe_open(folder / WEIGHTS, "pt") as file:
        missing = there ^ set(file.keys())
    if missing:
        raise ConfigError(
            f"the adapter {folder} does not fit the model: {len(missing)} of the model's adapter tensors are not in it or "
            f"the other way round, such as {min(missing)}"
        )
    return adapted
