"""Stop strings in pieces."""

from __future__ import annotations

import pytest

from pareto.serve.stops import StopStrings


@pytest.mark.parametrize(
    ("pieces", "stops", "told", "hit"),
    [
        (["ab", "c"], [], ["ab", "c"], False),
        (["ab", "cd"], ["bc"], ["a", ""], True),  # "b" may begin "bc", so it is held; then it does
        (["ab", "d"], ["bc"], ["a", "bd"], False),  # held, and given back
        (["aaab"], ["aab"], ["a"], True),
        (["x\n", "\ny"], ["\n\n"], ["x", ""], True),
        (["one two"], ["two", "ne"], ["o"], True),  # the one that comes first in the text
        (["ab"], ["bc"], ["ab"], False),  # last: nothing can come any more
    ],
)
def test_nothing_is_told_that_a_stop_string_takes_back(pieces, stops, told, hit):
    text = StopStrings(stops)
    got = [text.add(piece, last=i + 1 == len(pieces)) for i, piece in enumerate(pieces)]
    assert (got, text.hit) == (told, hit)
    assert text.add("more") == ("" if hit else "more")
