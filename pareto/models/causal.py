"""Causal language models: any Hugging Face folder or hub id, or a small Llama built from sizes."""

from __future__ import annotations

import contextlib
import importlib.util
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

from pydantic import Field

from pareto import rng, trust
from pareto.config import Config
from pareto.errors import ConfigError, MissingPackageError
from pareto.models.adapter_folder import load_adapter
from pareto.models.tokenizers import first_line, load_tokenizer
from pareto.offline import HUB_VARIABLES

Quantize = Literal["4bit", "8bit"]
"""How the weights of a frozen base may be stored."""
MERGE_TOLERANCE = 1e-3
"""How far log-probabilities may move when an adapter is merged, nats; beyond it the merge is wrong."""


class SmallLlama(Config):
    """Sizes of a Llama that is trained from its initial weights.

    Source: the Llama architecture (Touvron et al., 2023) with tied embeddings, which small models need.
    """

    hidden: int = Field(default=128, ge=8)
    layers: int = Field(default=4, ge=1)
    heads: int = Field(default=4, ge=1)
    intermediate: int | None = Field(
        None, ge=8, description="width of the feed-forward part; None: 8/3 of hidden"
    )
    vocab_size: int = Field(default=2048, ge=259, description="tokens of the tokenizer trained on the data")
    max_positions: int = Field(default=1024, ge=8)


def build_llama(config: SmallLlama, tokenizer: Any, seed: int) -> Any:
    """A Llama of these sizes with seeded initial weights.

    Raises:
        ConfigError: hidden is not a multiple of heads.
    """
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    if config.hidden % (2 * config.heads):
        raise ConfigError(
            f"hidden must be a multiple of twice the heads; got hidden={config.hidden}, heads={config.heads}"
        )
    with torch.random.fork_rng():
        torch.manual_seed(rng.derive_seed("initial weights", seed) % 2**31)
        return LlamaForCausalLM(
            LlamaConfig(
                vocab_size=len(tokenizer),
                hidden_size=config.hidden,
                intermediate_size=config.intermediate or 8 * config.hidden // 3,
                num_hidden_layers=config.layers,
                num_attention_heads=config.heads,
                num_key_value_heads=config.heads,
                max_position_embeddings=config.max_positions,
                pad_token_id=tokenizer.pad_token_id,
                bos_token_id=tokenizer.bos_token_id,
                eos_token_id=tokenizer.eos_token_id,
                tie_word_embeddings=True,
            )
        )


def check_source(source: str) -> str:
    """A model's folder as an absolute path, or a hub id that may be asked for.

    Raises:
        ConfigError: a path that is no folder, or a hub id while the hub is off (`--offline`).
    """
    folder = Path(source).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise ConfigError(
                f"the model folder {folder} has no config.json; expected a Hugging Face model folder"
            )
        return str(folder.resolve())
    if source.startswith((".", "/", "~")) or source.count("/") > 1 or "\\" in source:
        raise ConfigError(
            f"there is no model folder {source!r}; give a folder or a hub id such as 'org/name'"
        )
    if any(os.environ.get(name, "").lower() in ("1", "true", "yes", "on") for name in HUB_VARIABLES):
        raise ConfigError(
            f"{source!r} is no folder here, and the hub is switched off (offline); download the model and give its folder"
        )
    return source


def load_causal_lm(
    source: str | Path,
    *,
    revision: str | None = None,
    trust_remote_code: bool | None = None,
    dtype: str = "float32",
    quantize: Quantize | None = None,
) -> tuple[Any, Any]:
    """(model in evaluation mode, tokenizer) of a Hugging Face folder or hub id.

    Only safetensors weights are read, never pickled ones, and no code of the model folder runs unless asked for. The model
    is on the CPU, unless it is quantised: then it is where bitsandbytes puts it, the first GPU if there is one.

    Args:
        source: folder or hub id.
        revision: of the hub id.
        trust_remote_code: run code that comes with the model; None: as the command line said.
        dtype: of the weights.
        quantize: store linear layers in 4 or 8 bits; they cannot be trained, adapters on top of them can.

    Raises:
        MissingPackageError: quantised without bitsandbytes.
        ConfigError: no such model, no tokenizer, no safetensors weights or not all of them, an architecture that needs its
            own code, links out of the folder, or a tokenizer with more tokens than the model.
    """
    import torch
    from transformers import AutoModelForCausalLM

    trusted = trust.is_given() if trust_remote_code is None else trust_remote_code
    settings = {} if quantize is None else {"quantization_config": _quantization(quantize, dtype)}
    source = check_source(str(source))
    tokenizer = load_tokenizer(
        source, revision=revision, trust_remote_code=trusted
    )  # and looks at the folder
    try:
        with no_progress_bars():
            loaded: Any = AutoModelForCausalLM.from_pretrained(
                source,
                revision=revision,
                trust_remote_code=trusted,
                use_safetensors=True,
                output_loading_info=True,
                dtype=getattr(torch, dtype),
                **settings,
            )
    except Exception as error:  # transformers raises whatever it meets in a broken folder
        raise ConfigError(
            f"the model {source} cannot be loaded: {first_line(error)} (weights must be safetensors; a model with code of its "
            "own needs --trust-remote-code)"
        ) from error
    model, info = loaded
    if absent := sorted({*info["missing_keys"], *(key for key, *_ in info["mismatched_keys"])}):
        raise ConfigError(
            f"the model {source} is not whole: {len(absent)} tensors are missing or of another size, such as {absent[0]}; they "
            "would be random"
        )
    vocabulary = model.get_input_embeddings().weight.shape[0]
    if len(tokenizer) > vocabulary:
        raise ConfigError(
            f"the tokenizer of {source} has {len(tokenizer)} tokens, the model {vocabulary}; they do not belong together"
        )
    return model.eval(), tokenizer


def _quantization(quantize: Quantize, dtype: str) -> Any:
    """What transformers must know to quantise a model while it loads.

    Source: Dettmers et al. (2023), QLoRA, arXiv 2305.14314: 4-bit NormalFloat with doubly quantised constants; Dettmers et
    al. (2022), LLM.int8(), arXiv 2208.07339.
    """
    if importlib.util.find_spec("bitsandbytes") is None:
        raise MissingPackageError("bitsandbytes", "quantized", f"a base model in {quantize}")
    import torch
    from transformers import BitsAndBytesConfig

    if quantize == "8bit":
        return BitsAndBytesConfig(load_in_8bit=True)
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=getattr(torch, dtype),
    )


@contextlib.contextmanager
def no_progress_bars() -> Iterator[None]:
    """Keep transformers from drawing bars of its own while it loads or saves a model."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def merge_adapter(model: Any, folder: str | Path) -> Any:
    """Add a PEFT adapter to a model's weights for good, so that training starts there and the reference keeps it.

    Args:
        model: the base model; it becomes part of the result.
        folder: an adapter in PEFT's layout.

    Raises:
        ConfigError: no adapter there, or one whose merged weights do not compute what the adapter computes.
    """
    import torch

    adapted = load_adapter(model, Path(folder)).eval()
    probe = torch.arange(1, 24)[None] % model.config.get_text_config().vocab_size
    with torch.no_grad():
        before = adapted(input_ids=probe).logits.log_softmax(-1)
        merged: Any = adapted.merge_and_unload()
        after = merged(input_ids=probe).logits.log_softmax(-1)
    moved = float((after - before).abs().max())
    if not moved <= MERGE_TOLERANCE:
        raise ConfigError(
            f"merging the adapter {folder} changed its log-probabilities by {moved:.2g} nats (at most {MERGE_TOLERANCE}); "
            "this kind of adapter cannot be merged faithfully: merge it where it was trained and give the whole model"
        )
    return merged
