"""The lab's language: a tokenizer whose tokens are phrases, and the token ids of every prompt and response."""

from __future__ import annotations

from typing import Any

import numpy as np

from pareto.tasks.lab.phrases import AUDIENCES, SITUATIONS, SLOTS, TOPICS
from pareto.tasks.lab.world import World

SPECIAL = ("<pad>", "<s>", "</s>", "<unk>")
PAD, BOS, EOS, UNK = range(4)


def phrase_text(slot: int, choice: int) -> str:
    """A response phrase as it stands in the text: with a space before it unless it opens the response."""
    return ("" if slot == 0 else " ") + SLOTS[slot][1][choice]


def prompt_text(prompt: np.ndarray) -> str:
    """The request that a [3] row of topic, situation and audience stands for."""
    topic, situation, audience = (int(i) for i in prompt)
    return f"{TOPICS[topic]} {SITUATIONS[situation]} {AUDIENCES[audience]}"


def response_text(choices: np.ndarray) -> str:
    """The reply that a [slots] row of choices stands for."""
    return "".join(phrase_text(s, int(c)) for s, c in enumerate(choices))


def make_tokenizer(world: World) -> Any:
    """Build the tokenizer: one token per phrase of the world, `<unk>` for any other text, `<s>` before a prompt."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, processors
    from transformers import PreTrainedTokenizerFast

    vocab = {token: i for i, token in enumerate(SPECIAL)}
    tokenizer = Tokenizer(models.BPE(vocab=vocab, merges=[], unk_token="<unk>", fuse_unk=True))
    tokenizer.decoder = decoders.Fuse()
    slots, choices = world.unary.shape[2:]
    topics = TOPICS[: int(world.prompts[:, 0].max()) + 1]
    phrases = [*topics, *(f" {s}" for s in SITUATIONS), *(f" {a}" for a in AUDIENCES)]
    phrases += [phrase_text(s, c) for s in range(slots) for c in range(choices)]
    tokenizer.add_special_tokens([AddedToken(t, special=True) for t in SPECIAL])
    tokenizer.add_tokens([AddedToken(p, normalized=False, special=False) for p in phrases])
    tokenizer.post_processor = processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", BOS)])
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )


def prompt_ids(world: World, tokenizer: Any) -> np.ndarray:
    """[P, 4] int32: token ids of every prompt."""
    return np.array([tokenizer(prompt_text(p))["input_ids"] for p in world.prompts], dtype=np.int32)


def choice_ids(world: World, tokenizer: Any) -> np.ndarray:
    """[slots, choices] int32: the token of every phrase."""
    slots, choices = world.unary.shape[2:]
    texts = [[phrase_text(s, c) for c in range(choices)] for s in range(slots)]
    ids = [[tokenizer(t, add_special_tokens=False)["input_ids"] for t in row] for row in texts]
    return np.array(ids, dtype=np.int32)[:, :, 0]


def response_ids(world: World, tokenizer: Any) -> np.ndarray:
    """[Y, slots + 1] int32: token ids of every response, with its end token."""
    ids = choice_ids(world, tokenizer)[np.arange(world.responses.shape[1]), world.responses]
    return np.column_stack([ids, np.full(len(ids), EOS, dtype=np.int32)])
