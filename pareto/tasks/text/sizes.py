"""How much text a study trains on, told before a tokenizer is at hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from pareto.data.texts import Text, plain
from pareto.pricing import TextSizes

if TYPE_CHECKING:
    from pareto.tasks.text.task import Text as TextTask

CHARACTERS_PER_TOKEN = 4.0
"""Of English prose under the tokenizers of large models, about; a small vocabulary makes more tokens of the same text."""


def text_sizes(task: TextTask) -> TextSizes:
    """Read the task's data and take the mean lengths of the training part's prompts and responses, within the limits.

    Raises:
        DataError: rows that cannot be read.
    """
    data, _ = task.read()
    train = task.split.divide(data)["train"]
    return TextSizes(
        len(train),
        len(train.responses),
        _mean_tokens(train.prompts, task.limits.prompt_tokens),
        _mean_tokens(train.responses, task.limits.response_tokens),
        _parameters(task),
    )


def _mean_tokens(texts: Sequence[Text], most: int) -> float:
    """Mean of 1 (the start of a prompt, the end of a response) and the text, each text cut at its limit."""
    lengths = [min(most, 1 + len(plain(text)) / CHARACTERS_PER_TOKEN) for text in texts]
    return float(np.mean(lengths)) if lengths else 0.0


def _parameters(task: TextTask) -> int | None:
    """Of the model, about; None for a hub id, of which nothing is known without asking.

    From sizes: attention 4 h^2, three matrices of the feed-forward part, one embedding. Of a folder: what its safetensors hold
    at the bytes of its dtype.
    """
    if task.from_config is not None:
        c = task.from_config
        wide = c.intermediate or 8 * c.hidden // 3
        return c.layers * (4 * c.hidden**2 + 3 * c.hidden * wide) + c.vocab_size * c.hidden
    folder = Path(str(task.model)).expanduser()
    if not folder.is_dir():
        return None
    config = folder / "config.json"
    told = json.loads(config.read_text(encoding="utf-8")) if config.is_file() else {}
    bytes_each = 4 if told.get("torch_dtype", told.get("dtype")) == "float32" else 2
    return sum(path.stat().st_size for path in folder.glob("*.safetensors")) // bytes_each or None
