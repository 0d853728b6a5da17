"""Named numbers on the command line: ``helpful=0.7,brief=0.3``."""

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
