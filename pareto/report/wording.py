"""Numbers and names as a reader sees them. Pure text; nothing here knows HTML."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence

MINUS = "\u2212"
UNKNOWN = "\u2013"

SPLITS = {"heldout": "held-out", "selection": "selection"}

REF_POINT_RULES = {
    "given": "given beforehand",
    "corners-10%": "the nadir of the corner policies less 10 % of their range",
}

COSTS = {
    "train_tokens": "Tokens trained on",
    "generated_tokens": "Tokens generated",
    "env_steps": "Environment steps, training",
    "selection_env_steps": "Environment steps, selection",
    "scoring_env_steps": "Environment steps, scoring",
    "wasted_tokens": "Tokens lost to interruptions",
    "wasted_steps": "Steps lost to interruptions",
    "wall_s": "Wall time",
    "peak_rss_mb": "Peak memory, MB",
    "peak_gpu_mb": "Peak GPU memory, MB",
}

FIGURES = {
    "optimality": ("Optimality, trained", "share of the reachable utility on prompts trained on"),
    "optimality_heldout": ("Optimality, held out", "the same on prompts nobody trained on"),
    "hypervolume_ratio": ("Hypervolume ratio", "to the exact optima at the same weights and mean KL"),
    "coverage": ("Coverage", "those exact optima / the dense exact front"),
    "mixture_ratio": ("Mixture ratio", "mixtures of neighbours included / the dense exact front"),
    "hypervolume": ("Exact front", "hypervolume of the dense exact front"),
}
"""Figures of the exact block: what each is called, and what it is."""

INDICATORS = {
    "hypervolume_selection": ("On the selection split", "hypervolume of the values that choices may rest on"),
    "hypervolume_with_mixtures": ("With mixtures", "hypervolume with mixtures of neighbouring policies"),
    "expected_utility": ("Expected utility", "mean over linear utilities of the best policy's"),
    "sparsity": ("Sparsity", "mean squared gap between neighbours; small is not good by itself"),
    "spacing": ("Spacing", "unevenness of the gaps; small is not good by itself"),
    "cardinality": ("Cardinality", "policies that no other dominates"),
}
"""Further indicators: what each is called, and what it is."""


def named(names: dict[str, str], key: str | None) -> str:
    """The wording of a key; a key nobody worded is shown as it is, underscores as spaces."""
    return UNKNOWN if key is None else names.get(key, key.replace("_", " "))


def fixed(x: float | None, decimals: int) -> str:
    """`x` with that many decimals, thousands separated, a true minus sign and no negative zero."""
    if x is None:
        return UNKNOWN
    text = f"{x:,.{decimals}f}"
    if not text.strip("-0.,"):
        text = text.lstrip("-")
    return text.replace("-", MINUS)


def number(x: float | None, digits: int = 3) -> str:
    """`x` with about `digits` significant digits; whole numbers in full."""
    if x is None:
        return UNKNOWN
    if x == 0 or (float(x).is_integer() and abs(x) < 1e12):
        return fixed(x, 0)
    if not 1e-4 <= abs(x) < 1e9:
        mantissa, power = f"{x:.{digits - 1}e}".split("e")
        return f"{mantissa}e{int(power)}".replace("-", MINUS)
    return fixed(x, _decimals_for(abs(x), digits))


def column(values: Iterable[float | None]) -> Callable[[float | None], str]:
    """One format for a whole column: its largest number shows three digits, its spread at least two."""
    known = [v for v in values if v is not None]
    largest = max((abs(v) for v in known), default=0.0)
    spread = max(known, default=0.0) - min(known, default=0.0)
    if all(float(v).is_integer() for v in known):
        return lambda x: fixed(x, 0)
    if largest >= 1e9 or largest < 1e-4:
        return number
    decimals = max(_decimals_for(largest, 3), _decimals_for(spread, 2))
    return lambda x: fixed(x, decimals)


def with_interval(x: float, interval: Sequence[float] | None) -> tuple[str, str]:
    """`x` and its interval ("3.00 to 3.20"; "" when unknown), both to the second digit of the half-width."""
    half = (interval[1] - interval[0]) / 2 if interval else 0.0
    if not interval or half <= 0:
        return number(x), "" if not interval else f"{number(interval[0])} to {number(interval[1])}"
    if max(abs(x), *map(abs, interval)) >= 1e9:
        return number(x), f"{number(interval[0])} to {number(interval[1])}"
    decimals = _decimals_for(half, 2)
    return fixed(x, decimals), f"{fixed(interval[0], decimals)} to {fixed(interval[1], decimals)}"


def duration(seconds: float | None) -> str:
    """Seconds as "42 s", "3 min 20 s" or "2 h 5 min"."""
    if seconds is None:
        return UNKNOWN
    if seconds < 60:
        return f"{number(seconds, 2)} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    return f"{minutes // 60} h {minutes % 60} min"


def count(n: int, one: str, many: str | None = None) -> str:
    """Say how many: "1 policy", "9 policies"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def weights_text(names: Sequence[str], weights: Sequence[float] | None) -> str:
    """Name the weights: "helpful 0.70 · brief 0.30", or "no weights"."""
    if weights is None:
        return "no weights"
    return " \u00b7 ".join(f"{name} {fixed(w, 2)}" for name, w in zip(names, weights))


def figures_text(figures: Mapping[str, float | None]) -> str:
    """Name some figures: "helpful 1.20 · brief 0.31"."""
    return " \u00b7 ".join(f"{name} {number(value)}" for name, value in figures.items())


def _decimals_for(size: float, digits: int) -> int:
    return min(6, max(0, digits - 1 - math.floor(math.log10(size)))) if size > 0 else 0
