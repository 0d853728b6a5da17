"""A tokenizer and models small enough for tests, built from nothing."""

from __future__ import annotations

import functools

from pareto.models.causal import SmallLlama, build_llama
from pareto.models.tokenizers import train_tokenizer

WORDS = [
    "the",
    "cat",
    "sat",
    "on",
    "a",
    "mat",
    "and",
    "the",
    "dog",
    "ran",
    "after",
    "it",
    "while",
    "rain",
    "fell",
    "over",
    "old",
    "green",
    "hills",
]
TEXTS = tuple(" ".join(WORDS[i:] + WORDS[:i]) + "." for i in range(len(WORDS)))
PROMPTS = ("the cat", "a dog ran after", "rain", "old green hills and the mat on which it sat", "")


@functools.cache
def tokenizer():
    return train_tokenizer(TEXTS, 300)


def fresh_tokenizer():
    return train_tokenizer(TEXTS, 300)


def llama(seed: int = 0, **sizes):
    config = SmallLlama(
        **({"hidden": 32, "layers": 2, "heads": 2, "vocab_size": 300, "max_positions": 128} | sizes)
    )
    return build_llama(config, tokenizer(), seed).eval()
