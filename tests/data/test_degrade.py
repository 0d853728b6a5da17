"""Degraded copies: the key words that go, in their order."""

from __future__ import annotations

import itertools
import re

import pytest

from pareto.data.degrade import FUNCTION_WORDS, degrade
from pareto.errors import ConfigError

TEXT = "The river is deep. The river and the sea are cold, deep and salty."


def test_key_words_go_in_their_order():
    """river 2, deep 2, then once: salty (5), cold (4), sea (3); river is longer than deep."""
    copies = degrade(TEXT, [0.2, 0.4, 0.6, 0.8, 1.0])
    assert copies[0] == "The is deep. The and the sea are cold, deep and salty."
    assert copies[1] == "The is . The and the sea are cold, and salty."
    assert copies[2] == "The is . The and the sea are cold, and ."
    assert copies[3] == "The is . The and the sea are , and ."
    assert copies[4] == "The is . The and the are , and ."


def test_every_copy_lacks_more():
    words = [set(re.findall(r"\w+", copy.lower())) for copy in (TEXT, *degrade(TEXT, [0.3, 0.6, 1.0]))]
    assert all(later < earlier for earlier, later in itertools.pairwise(words))


def test_nothing_to_cut():
    assert degrade("It is what it is.", [0.5, 1.0]) == ("It is what it is.",) * 2
    assert "river" not in FUNCTION_WORDS


@pytest.mark.parametrize("shares", [[], [0.0], [0.5, 0.5], [0.8, 0.2], [1.2]])
def test_shares_ascend(shares):
    with pytest.raises(ConfigError, match="ascend"):
        degrade(TEXT, shares)
