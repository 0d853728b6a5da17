"""One prompt, one response to token ids, with boundaries that training and generation agree on.

How a prompt string becomes tokens is a property of the tokenizer, so that it travels with the model: its entry
``prompt_format`` (see `set_prompt_format`) is a text around ``{prompt}``, or ``chat`` for one user message under the
tokenizer's chat template. Chat rows always go through the template.

The rules, each of which other code bases got wrong at least once:

- a plain prompt and its response are tokenised apart, so that all responses to a prompt share its tokens;
- a chat conversation is rendered twice, up to the reply and whole; where the first is not the start of the second (by
  text or by tokens) the reply is tokenised apart, and the row counts as a mismatch;
- a beginning-of-text token stands at most once, an end token exactly once.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pareto.data.templates import render_chat
from pareto.data.texts import Chat, Message, Text, as_chat, shared_length
from pareto.errors import DataError

Ids = list[int]

BATCH = 1024
"""Texts per tokenizer call."""
CHAT = "chat"


def set_prompt_format(tokenizer: Any, prompt_format: str) -> None:
    """Store in the tokenizer how prompt strings are written; `save_pretrained` keeps it.

    Raises:
        DataError: a format without ``{prompt}``, or "chat" for a tokenizer without chat template.
    """
    if prompt_format == CHAT:
        _need_template(tokenizer)
    elif prompt_format.count("{prompt}") != 1:
        raise DataError(f"a prompt format must be 'chat' or hold {{prompt}} once; got {prompt_format!r}")
    tokenizer.init_kwargs["prompt_format"] = prompt_format


def prompt_format(tokenizer: Any) -> str:
    """How prompt strings are written for this tokenizer; "{prompt}" where nothing was set."""
    return tokenizer.init_kwargs.get("prompt_format", "{prompt}")


def encode_prompts(tokenizer: Any, prompts: Sequence[Text]) -> list[Ids]:
    """Token ids of prompts, ready for a reply to follow; at least one token each.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompts: strings or chats.

    Raises:
        DataError: a chat without chat template, or no token to start an empty prompt with.
    """
    chats = [as_conversation(tokenizer, p) for p in prompts]
    texts = [
        _format(tokenizer, p) if chat is None else _render_prompt(tokenizer, chat)
        for p, chat in zip(prompts, chats)
    ]
    plain = [chat is None for chat in chats]
    ids = _encode_where(tokenizer, texts, plain)
    return [_started(tokenizer, row, p) for row, p in zip(ids, plain)]


def encode_responses(
    tokenizer: Any, prompts: Sequence[Text], responses: Sequence[Text], prompt_ids: Sequence[Ids]
) -> tuple[list[Ids], np.ndarray]:
    """Token ids of responses, each with its end token.

    Args:
        tokenizer: a Hugging Face tokenizer.
        prompts: [n] the prompt of each response.
        responses: [n].
        prompt_ids: [n] what `encode_prompts` gave for each.

    Returns:
        [n] ids, and [n] bool: whether prompt and conversation did not fit together, so that the reply was tokenised apart.

    Raises:
        DataError: the tokenizer has no end token or no chat template where one is needed.
    """
    if tokenizer.eos_token_id is None:
        raise DataError("the tokenizer has no end-of-sequence token; set tokenizer.eos_token")
    chats = [as_conversation(tokenizer, p) for p in prompts]
    rendered = {c: _render_prompt(tokenizer, c) for c in set(chats) if c is not None}
    starts = [None if c is None else rendered[c] for c in chats]
    wholes = [
        r if isinstance(r, str) and c is None else _render_whole(tokenizer, as_chat(p) if c is None else c, r)
        for p, c, r in zip(prompts, chats, responses)
    ]
    whole_ids = _encode(tokenizer, wholes, special=False)
    out: list[Ids] = [[] for _ in wholes]
    apart: list[tuple[int, str]] = []
    for i, (start, whole, ids) in enumerate(zip(starts, wholes, whole_ids)):
        if start is None:
            out[i] = ids
        elif whole.startswith(start) and ids[: len(prompt_ids[i])] == prompt_ids[i]:
            out[i] = ids[len(prompt_ids[i]) :]
        else:
            apart.append((i, whole[shared_length(start, whole) :]))
    for (i, _), ids in zip(apart, _encode(tokenizer, [text for _, text in apart], special=False)):
        out[i] = ids
    mismatch = np.zeros(len(out), dtype=bool)
    mismatch[[i for i, _ in apart]] = True
    return [_ended(tokenizer, ids) for ids in out], mismatch


def as_conversation(tokenizer: Any, prompt: Text) -> Chat | None:
    """The prompt as chat where it is to be rendered by the template, else None."""
    if isinstance(prompt, Chat):
        return prompt
    return as_chat(prompt) if prompt_format(tokenizer) == CHAT else None


def _format(tokenizer: Any, prompt: Text) -> str:
    assert isinstance(prompt, str)  # chats are rendered by the template
    return prompt_format(tokenizer).replace("{prompt}", prompt)


def _need_template(tokenizer: Any) -> None:
    if not getattr(tokenizer, "chat_template", None):
        raise DataError(
            "the prompts are chat messages and the tokenizer has no chat template; use a chat model, or plain strings "
            "with prompt_format"
        )


def _render(tokenizer: Any, chat: Chat, **options: Any) -> str:
    tools = json.loads(chat.tools) if chat.tools else None
    messages = [m.to_json() for m in chat.messages]
    return render_chat(tokenizer, messages, tools=tools, **options)


def _render_prompt(tokenizer: Any, chat: Chat) -> str:
    """The conversation up to the reply; one that ends with the assistant's words is to be continued."""
    _need_template(tokenizer)
    begun = bool(chat.messages) and chat.messages[-1].role == "assistant"
    return _render(tokenizer, chat, add_generation_prompt=not begun, continue_final_message=begun)


def _render_whole(tokenizer: Any, chat: Chat, response: Text) -> str:
    _need_template(tokenizer)
    reply = (Message("assistant", response),) if isinstance(response, str) else response.messages
    last = chat.messages[-1] if chat.messages else None
    if last is not None and last.role == "assistant" and reply[0].role == "assistant":
        begun = last._replace(content=last.content + reply[0].content)
        return _render(tokenizer, chat._replace(messages=(*chat.messages[:-1], begun, *reply[1:])))
    return _render(tokenizer, chat._replace(messages=(*chat.messages, *reply)))


def _encode(tokenizer: Any, texts: Sequence[str], *, special: bool) -> list[Ids]:
    out: list[Ids] = []
    for i in range(0, len(texts), BATCH):
        batch = list(texts[i : i + BATCH])
        encoded = tokenizer(
            batch, add_special_tokens=special, return_attention_mask=False, truncation=False, verbose=False
        )
        out += [list(ids) for ids in encoded["input_ids"]]
    return out


def _encode_where(tokenizer: Any, texts: Sequence[str], special: Sequence[bool]) -> list[Ids]:
    """Encode texts, some with the tokenizer's special tokens; a template has written its own."""
    out: list[Ids] = [[] for _ in texts]
    for flag in (True, False):
        where = [i for i, s in enumerate(special) if s == flag]
        for i, ids in zip(where, _encode(tokenizer, [texts[i] for i in where], special=flag)):
            out[i] = ids
    return out


def _started(tokenizer: Any, ids: Ids, plain: bool) -> Ids:
    """A prompt that is not empty; a plain one without the end token some tokenizers add and with one beginning at most."""
    bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
    if plain:
        while len(ids) > 1 and ids[-1] == eos and eos != bos:
            ids = ids[:-1]
        while len(ids) > 1 and bos is not None and ids[0] == ids[1] == bos:
            ids = ids[1:]
    if ids:
        return ids
    if bos is None and eos is None:
        raise DataError(
            "a prompt is empty and the tokenizer has no beginning- or end-of-text token to start it with"
        )
    return [eos if bos is None else bos]


def _ended(tokenizer: Any, ids: Ids) -> Ids:
    """A response with exactly one end token at its end; what a template writes after its own (a line break) goes."""
    eos = tokenizer.eos_token_id
    if eos in ids:
        last = len(ids) - 1 - ids[::-1].index(eos)
        if not tokenizer.decode(ids[last + 1 :]).strip():
            ids = ids[:last]
    while ids and ids[-1] == eos:
        ids = ids[:-1]
    return [*ids, eos]
