"""Chat templates of a model, which come from its maker: run in Jinja's sandbox, for so many lines and no more."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from types import FrameType
from typing import Any

from pareto.errors import DataError

MAX_LINES = 1_000_000
"""Lines of a template that may run for one conversation; real ones take some tens a message."""
MAX_CHARACTERS = 64 << 20
_CODE = "<template>"
"""What Jinja calls the file of a template's compiled code."""


class _TooLong(Exception):
    """The template ran for too many lines."""


def render_chat(tokenizer: Any, messages: Sequence[Mapping[str, Any]], **options: Any) -> str:
    """A conversation as the tokenizer's chat template writes it.

    Args:
        tokenizer: a Hugging Face tokenizer with a chat template.
        messages: as the template takes them.
        options: of `apply_chat_template`.

    Raises:
        DataError: the template refuses the conversation, is broken, reaches for what the sandbox forbids, or does not end.
    """
    lines = _Lines(MAX_LINES)
    before = sys.gettrace()
    sys.settrace(lines.of_frame)
    try:
        text = tokenizer.apply_chat_template(list(messages), tokenize=False, **options)
    except Exception as error:  # a template may raise anything: it is a program
        what = f"ran for more than {MAX_LINES} lines" if isinstance(error, _TooLong) else _first_line(error)
        raise DataError(
            f"the chat template of {_name(tokenizer)} does not write this conversation of {len(messages)} messages: {what}; "
            "correct the messages, or the template in the tokenizer's files"
        ) from error
    finally:
        sys.settrace(before)
    if len(text) > MAX_CHARACTERS:
        raise DataError(
            f"the chat template of {_name(tokenizer)} made {len(text)} characters of {len(messages)} messages; at most "
            f"{MAX_CHARACTERS} are taken: correct the template in the tokenizer's files"
        )
    return text


class _Lines:
    """Counts the lines that a template's code runs, and raises when there are too many."""

    def __init__(self, left: int) -> None:
        self.left = left

    def of_frame(self, frame: FrameType, event: str, arg: Any) -> Any:
        return self.count if frame.f_code.co_filename == _CODE else None

    def count(self, frame: FrameType, event: str, arg: Any) -> Any:
        self.left -= 1
        if self.left < 0:
            raise _TooLong
        return self.count


def _name(tokenizer: Any) -> str:
    return str(getattr(tokenizer, "name_or_path", "") or "the tokenizer")


def _first_line(error: BaseException) -> str:
    words = (str(error).strip().splitlines() or [""])[0][:200]
    return f"{type(error).__name__}: {words}" if words else type(error).__name__
