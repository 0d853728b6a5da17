"""Copies of a text that lack more and more of its content: a preference that needs no labels."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

from pareto.errors import ConfigError

_WORD = re.compile(r"\w+", re.UNICODE)

FUNCTION_WORDS = frozenset(
    _WORD.findall(
        "a an and are as at be been but by can could did do does for from had has have he her his i if in into is it its may "
        "me might my no not of on or our shall she should so than that the their them then there these they this those to "
        "was we were what when which who will with would you your"
    )
)
"""Words that carry no content of their own; never counted as key words."""


def degrade(text: str, shares: Sequence[float]) -> tuple[str, ...]:
    """Cut the key words out of a text, in growing shares.

    Key words are the words that are no function words; those that are said most often count most, longer before shorter,
    earlier before later.

    Args:
        text: any language that separates words; a text without key words comes back as it is.
        shares: ascending, in (0, 1], share of the key words that each copy lacks.

    Returns:
        A copy for each share.

    Raises:
        ConfigError: shares that do not ascend or lie outside (0, 1].

    Source: the idea of Self-supervised preference optimization, arXiv 2409.17791 (removing key content to graded ratios);
    the ranking of key words is this suite's, since no code was released.
    """
    if not shares or any(not 0.0 < s <= 1.0 for s in shares) or list(shares) != sorted(set(shares)):
        raise ConfigError(f"shares must ascend within (0, 1]; got {list(shares)}")
    words = [m.group().casefold() for m in _WORD.finditer(text)]
    counts = Counter(w for w in words if w not in FUNCTION_WORDS)
    first = {w: i for i, w in reversed(list(enumerate(words)))}
    ranked = sorted(counts, key=lambda w: (-counts[w], -len(w), first[w]))
    return tuple(_without(text, frozenset(ranked[: round(s * len(ranked))])) for s in shares)


def _without(text: str, words: frozenset[str]) -> str:
    kept = _WORD.sub(lambda m: "" if m.group().casefold() in words else m.group(), text)
    return re.sub(r"[ \t]{2,}", " ", kept).strip()
