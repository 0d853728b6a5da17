"""Tokenizers: the one that belongs to a model, or a byte-level one trained on the data at hand."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from pareto import trust
from pareto.errors import ConfigError, DataError
from pareto.models.model_folder import check_model_folder

TOKENIZER_FILES = (
    "tokenizer.json",
    "tokenizer.model",
    "tokenizer_config.json",
    "vocab.json",
    "vocab.txt",
    "spiece.model",
    "sentencepiece.bpe.model",
    "tekken.json",
)
"""A model folder with none of these has no tokenizer."""
SPECIAL = ("<pad>", "<s>", "</s>")
PAD, BOS, EOS = range(3)
MIN_VOCAB = len(SPECIAL) + 256
"""Every byte has a token, so that any text can be written."""


def train_tokenizer(texts: Iterable[str], vocab_size: int) -> Any:
    """Train a byte-level BPE tokenizer; the same texts in the same order give the same tokenizer.

    Args:
        texts: what to learn merges from.
        vocab_size: largest number of tokens, special ones and the 256 bytes included.

    Returns:
        a fast tokenizer with `<s>` before every text, `</s>` as end and `<pad>` as padding token.

    Raises:
        ConfigError: vocab_size below 259.
        DataError: no texts.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers
    from transformers import PreTrainedTokenizerFast

    if vocab_size < MIN_VOCAB:
        raise ConfigError(
            f"vocab_size must be at least {MIN_VOCAB} (256 bytes and {len(SPECIAL)} special tokens); got {vocab_size}"
        )
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(SPECIAL),
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    seen = 0

    def counted() -> Iterable[str]:
        nonlocal seen
        for text in texts:
            seen += 1
            yield text

    tokenizer.train_from_iterator(counted(), trainer)
    if not seen:
        raise DataError("a tokenizer needs at least one text to be trained on; got none")
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        padding_side="right",
    )


def load_tokenizer(
    source: str | Path, *, revision: str | None = None, trust_remote_code: bool | None = None
) -> Any:
    """Load the tokenizer of a model folder or hub id.

    A tokenizer without padding token pads with its end token, which is masked wherever it is used.

    Args:
        source: folder or hub id.
        revision: of the hub id.
        trust_remote_code: run code that comes with it; None: as the command line said.

    Raises:
        ConfigError: there is none, it cannot be read, or it is not to be trusted.
    """
    from transformers import AutoTokenizer

    folder = Path(source)
    trusted = trust.is_given() if trust_remote_code is None else trust_remote_code
    if folder.is_dir():
        check_model_folder(folder, trust_remote_code=trusted)
    if folder.is_dir() and not any((folder / name).is_file() for name in TOKENIZER_FILES):
        raise ConfigError(
            f"the model folder {folder} has no tokenizer: expected one of {', '.join(TOKENIZER_FILES)}; copy the "
            "tokenizer's files into it (tokenizer.save_pretrained)"
        )
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(
            str(source), revision=revision, trust_remote_code=trusted
        )
    except Exception as error:  # transformers raises whatever it meets in a broken folder
        raise ConfigError(f"the tokenizer of {source} cannot be loaded: {first_line(error)}") from error
    if tokenizer.eos_token_id is None:
        raise ConfigError(
            f"the tokenizer of {source} has no end-of-sequence token; set eos_token in its files"
        )
    if tokenizer.pad_token_id is None:
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


def first_line(error: BaseException) -> str:
    """What an error of another library says, in one line."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
