"""Rows of JSON lines and of JSON lists, one by one; what is wrong with one of them does not hide the next."""

from __future__ import annotations

import contextlib
import io
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from pareto.data.bad_rows import BadRows, RowError
from pareto.errors import DataError

MAX_ROW_BYTES = 16 * 2**20
"""A longer row is reported as bad: text data has no such rows, broken files do."""
CHUNK = 2**20

Row = tuple[int, dict[str, Any]]
"""(line number from 1, columns). Parquet counts rows, every other format lines of the file."""


def decode(line: bytes) -> str:
    """UTF-8 text of a line.

    Raises:
        RowError: it is not UTF-8, with the first bad byte.
    """
    try:
        return line.decode("utf-8")
    except UnicodeDecodeError as error:
        raise RowError(
            f"not UTF-8: byte {error.object[error.start]:#04x} at column {error.start + 1}"
        ) from None


def parse_json(text: str) -> dict[str, Any]:
    """One JSON object; NaN and infinity are not JSON.

    Raises:
        RowError: anything else.
    """
    try:
        value = DECODER.decode(text)
    except json.JSONDecodeError as error:
        cut = error.pos >= len(text.rstrip()) or error.msg.startswith("Unterminated")
        hint = " (the line ends in the middle of a value)" if cut else ""
        raise RowError(f"not JSON: {error.msg} at column {error.colno}{hint}") from None
    except (ValueError, RecursionError) as error:
        raise RowError(f"not JSON: {str(error) or type(error).__name__}") from None
    if not isinstance(value, dict):
        raise _no_object(value)
    return value


def _no_object(value: Any) -> RowError:
    return RowError(f"a row must be a JSON object; got {type(value).__name__}")


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number (write null where a number is unknown)")


DECODER = json.JSONDecoder(parse_constant=_no_constant)


def json_lines(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
    """Decode one object a line; a line that is too long is passed over without being held."""
    number = 0
    while line := stream.readline(MAX_ROW_BYTES + 1):
        number += 1
        try:
            if len(line) > MAX_ROW_BYTES:
                while line and not line.endswith(b"\n"):
                    line = stream.readline(CHUNK)
                raise RowError(f"the line is longer than {MAX_ROW_BYTES // 2**20} MiB")
            text = decode(line.removeprefix(b"\xef\xbb\xbf") if number == 1 else line)
            if not text.strip():
                continue
            row = parse_json(text)
        except RowError as error:
            bad.add(path, number, str(error))
        else:
            yield number, row


def json_list(stream: BinaryIO, path: Path, bad: BadRows) -> Iterator[Row]:
    """Decode a JSON list element by element; a file that starts with an object is read as JSON lines."""
    with as_text(stream) as text:
        buffer = text.read(CHUNK)
        if not buffer.lstrip().startswith("{"):
            yield from _list_elements(text, buffer, path, bad)
            return
    stream.seek(0)
    yield from json_lines(stream, path, bad)


@contextlib.contextmanager
def as_text(stream: BinaryIO) -> Iterator[io.TextIOWrapper]:
    """The stream as UTF-8 text, without a byte-order mark; the stream stays open for whoever opened it.

    A byte that is not UTF-8 becomes a lone surrogate, so that it spoils its own row only.
    """
    text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield text
    finally:
        text.detach()


def _list_elements(text: io.TextIOBase, buffer: str, path: Path, bad: BadRows) -> Iterator[Row]:
    pos = len(buffer) - len(buffer.lstrip())
    line = 1 + buffer.count("\n", 0, pos)
    if buffer[pos : pos + 1] != "[":
        raise DataError(
            f"{path}:{line}: a .json file must hold a list of objects; got {buffer[pos : pos + 20]!r}"
        )
    pos, first = pos + 1, True
    while True:
        try:
            begin, end, value = _next_element(buffer, pos, first)
        except json.JSONDecodeError as error:
            more = text.read(max(CHUNK, len(buffer) - pos))  # doubling keeps the whole read linear
            if not more or len(buffer) - pos > 2 * MAX_ROW_BYTES:
                at = line + buffer.count("\n", pos, error.pos)
                raise DataError(
                    f"{path}:{at}: the JSON list is broken, cut short, or has an element of more than "
                    f"{MAX_ROW_BYTES // 2**20} MiB ({error.msg}); nothing after it can be read"
                ) from None
            buffer, pos = buffer[pos:] + more, 0
            continue
        except (ValueError, RecursionError) as error:
            raise DataError(f"{path}:{line}: {str(error) or type(error).__name__}") from None
        line += buffer.count("\n", pos, begin)
        if end is None:
            return
        if isinstance(value, dict):
            yield line, value
        else:
            bad.add(path, line, str(value if isinstance(value, RowError) else _no_object(value)))
        line += buffer.count("\n", begin, end)
        pos, first = end, False


def _next_element(buffer: str, pos: int, first: bool) -> tuple[int, int | None, Any]:
    """(begin, end, value or why it has none) of the list element after `pos`; end is None at the closing bracket.

    Raises:
        json.JSONDecodeError: the buffer holds no whole element: read more, or the file is broken.
    """
    gap = _GAP.match(buffer, pos)
    assert gap is not None  # the pattern matches the empty string
    begin, comma = gap.end(), "," in gap.group()
    if begin == len(buffer):
        raise json.JSONDecodeError("the list has no end", buffer, begin)
    if buffer[begin] == "]" and not comma:
        return begin, None, None
    if comma == first:
        raise json.JSONDecodeError("one comma must stand between two elements", buffer, begin)
    try:
        value, end = DECODER.raw_decode(buffer, begin)
    except json.JSONDecodeError:
        raise
    except ValueError as error:  # a number that is none spoils its own element, not what follows
        _, end = _ANY_NUMBER.raw_decode(buffer, begin)
        return begin, end, RowError(f"not JSON: {error}")
    if _NOT_UTF8.search(buffer, begin, end):
        return begin, end, RowError("not UTF-8 in this element")
    return begin, end, value


_GAP = re.compile(r"\s*,?\s*")
_NOT_UTF8 = re.compile("[\udc80-\udcff]")
"""What reading leaves in place of a byte that is not UTF-8."""
_ANY_NUMBER = json.JSONDecoder(parse_constant=lambda name: None, parse_int=lambda digits: None)
