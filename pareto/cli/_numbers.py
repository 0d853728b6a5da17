"""Numbers on the command line: named ones, ``helpful=0.7,brief=0.3``, and shares, ``0.1%``."""

from __future__ import annotations

import argparse
import math


def named_numbers(text: str) -> dict[str, float]:
    """Read ``a=0.7,b=0.3``; meant as an argparse type, which turns its error into a usage message.

    Raises:
        ArgumentTypeError: a part without "=", a name twice, or something that is no finite number.
    """
    numbers: dict[str, float] = {}
    for part in text.split(","):
        name, equals, number = (p.strip() for p in part.partition("="))
        try:
            value = float(number) if equals and name else math.nan
        except ValueError:
            value = math.nan
        if not math.isfinite(value):
            raise argparse.ArgumentTypeError(f"expected NAME=NUMBER,... such as a=0.7,b=0.3; got {part!r}")
        if name in numbers:
            raise argparse.ArgumentTypeError(f"each name once; {name!r} comes twice in {text!r}")
        numbers[name] = value
    return numbers


def written(numbers: dict[str, float]) -> str:
    """The same form, to be read by people."""
    return ", ".join(f"{name}={value:.6g}" for name, value in numbers.items())


def share(text: str) -> float:
    """Read a share such as 0.1% or 0.001."""
    try:
        value = float(text.removesuffix("%")) / (100.0 if text.endswith("%") else 1.0)
    except ValueError:
        value = -1.0
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a share such as 0.1% or 0.001; got {text!r}")
    return value
