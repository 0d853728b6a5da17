"""LoRA adapters and full fine-tuning: what of a model is trained, how it is stored, how it is loaded again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field

from pareto.config import Config
from pareto.errors import ArtifactError, ConfigError
from pareto.models.adapter_folder import load_adapter
from pareto.models.causal import no_progress_bars
from pareto.models.model_folder import check_model_folder
from pareto.models.tokenizers import first_line


class LoRA(Config):
    """Low-rank updates on top of a frozen base, stored in PEFT's layout.

    Source: Hu et al. (2021), arXiv 2106.09685. Alpha is twice the rank, as is usual; the MODPO paper's alpha of 1 at
    rank 64 only suits its large learning rate.
    """

    kind: Literal["lora"] = "lora"
    r: int = Field(default=16, ge=1)
    alpha: int = Field(default=32, ge=1)
    dropout: float = Field(default=0.0, ge=0, lt=1)
    targets: tuple[str, ...] | Literal["all-linear"] = "all-linear"


class FullFineTuning(Config):
    """Every parameter of the model."""

    kind: Literal["full"] = "full"


Adapter = Annotated[LoRA | FullFineTuning, Field(discriminator="kind")]


def attach(model: Any, adapter: LoRA | FullFineTuning, *, seed: int) -> Any:
    """Make the adapter's parameters the trainable ones; the model's outputs do not change yet.

    Args:
        model: a Hugging Face causal model that equals the reference.
        adapter: what to train.
        seed: initial values of the low-rank factors.

    Returns:
        the model to train: a PEFT model around `model` for LoRA, `model` itself otherwise.

    Raises:
        ConfigError: all weights of a quantised model.
    """
    if isinstance(adapter, FullFineTuning):
        if getattr(model, "is_quantized", False):
            raise ConfigError(
                "weights in 4 or 8 bits cannot be trained; put an adapter on them (adapter: {kind: lora}) or take quantize away"
            )
        return model.requires_grad_(True)
    from peft import LoraConfig, get_peft_model

    targets = adapter.targets
    config = LoraConfig(
        r=adapter.r,
        lora_alpha=adapter.alpha,
        lora_dropout=adapter.dropout,
        target_modules=targets if isinstance(targets, str) else list(targets),
        task_type="CAUSAL_LM",
    )
    model.requires_grad_(False)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return get_peft_model(model, config)


def reattach(model: Any, folder: Path) -> Any:
    """Load a trained policy and go on with it: the parameters that were trained are the trainable ones again.

    Args:
        model: a freshly loaded reference; it becomes part of the result.
        folder: what `save_policy` wrote.
    """
    if (folder / "adapter_config.json").exists():
        model.requires_grad_(False)
        return load_adapter(model, folder, trainable=True)
    return load_backbone(model, folder).requires_grad_(True)


def save_policy(model: Any, folder: Path) -> str:
    """Write a trained model: an adapter in PEFT layout, or all weights.

    Returns:
        the policy's kind: "adapter" or "model".
    """
    if hasattr(model, "peft_config"):
        for config in model.peft_config.values():
            # The run folder knows its base; a path of this machine helps nobody, and None would make PEFT fill one in.
            config.base_model_name_or_path = ""
            if isinstance(config.target_modules, set):
                config.target_modules = sorted(
                    config.target_modules
                )  # a set has another order in every process
        model.save_pretrained(folder, safe_serialization=True)
        (folder / "README.md").unlink(missing_ok=True)  # an empty model-card template
        return "adapter"
    with no_progress_bars():
        model.save_pretrained(folder, safe_serialization=True)
    return "model"


def load_policy(reference: Any, folder: Path) -> Any:
    """Load a stored policy: what `save_policy` wrote, with heads on it or told its weights where it was so stored.

    Args:
        reference: a freshly loaded base model; it becomes part of the result.
        folder: a policy's folder.

    Raises:
        ArtifactError: the folder holds neither an adapter nor a model, or heads that do not fit.
    """
    if (folder / "heads.json").exists():
        from pareto.models.mixed_heads import load_mixed  # heads stand on the backbones of this file

        return load_mixed(reference, folder)
    if (folder / "conditioning.json").exists():
        from pareto.models.prompt_policy import load_told

        return load_told(reference, folder, json.loads((folder / "policy.json").read_text())["weights"])
    if (folder / "decoding.json").exists():
        from pareto.models.decoding_policy import load_decoding

        return load_decoding(reference, folder)
    if (folder / "conditioned.json").exists():
        from pareto.models.conditioned import load_conditioned  # as above

        return load_conditioned(reference, folder)
    return load_backbone(reference, folder)


def load_backbone(reference: Any, folder: Path) -> Any:
    """Load what `save_policy` wrote, and nothing that stands on it.

    Args:
        reference: a freshly loaded base model; it becomes part of the result.
        folder: a policy's folder.

    Raises:
        ArtifactError: the folder holds neither an adapter nor a model, or one that is not whole.
        ConfigError: it is of another base, or reaches beyond its folder.
    """
    if (folder / "adapter_config.json").exists():
        return load_adapter(reference, folder).eval()
    if (folder / "model.safetensors").exists() or (folder / "model.safetensors.index.json").exists():
        check_model_folder(folder)
        try:
            with no_progress_bars():
                loaded, info = type(reference).from_pretrained(
                    folder, dtype=reference.dtype, use_safetensors=True, output_loading_info=True
                )
        except Exception as error:  # transformers raises whatever it meets in a broken folder
            raise ArtifactError(f"the policy {folder} cannot be loaded: {first_line(error)}") from error
        if absent := sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}):
            raise ArtifactError(
                f"the policy {folder} is not whole: {len(absent)} tensors, such as {absent[0]}"
            )
        return loaded.to(reference.device).eval()
    raise ArtifactError(
        f"expected adapter_config.json or model.safetensors in {folder}; found neither: the policy is incomplete"
    )


def first_adapter(model: Any) -> tuple[Any, ...]:
    """One layer that knows whether a model's adapters are on; none for a model without adapters."""
    if not hasattr(model, "peft_config"):
        return ()
    from peft.tuners.tuners_utils import BaseTunerLayer

    return tuple(m for m in model.modules() if isinstance(m, BaseTunerLayer))[:1]
