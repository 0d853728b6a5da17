"""A report tells how weights were chosen: what each round gained, by hand."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pareto.errors import ArtifactError
from pareto.report.page import render
from pareto.report.tree import Report


def rounds(content: dict[str, Any]) -> None:
    a, b = (o["name"] for o in content["objectives"])
    chosen = {"expected_gain": [0.4, 0.3], "certificate": 0.25}
    content["rounds"] = [
        {"weights": [{a: 1.0, b: 0.0}, {a: 0.0, b: 1.0}], "starts": [], "kept": None, "facts": {}},
        {"weights": [{a: 0.6, b: 0.4}, {a: 0.3, b: 0.7}], "starts": [], "kept": [1], "facts": chosen},
        {
            "weights": [],
            "starts": [],
            "kept": None,
            "facts": {"gain": 0.5, "gain_se": 0.125, "certificate": 0.0625},
        },
    ]


def test_a_gain_belongs_to_the_round_before_the_one_that_tells_it(report: Callable[..., Report]) -> None:
    made = report("rounds", m=2, n=5, units=16, edit=rounds)
    first, second, last = made.runs[0].rounds
    assert (first.gain, first.kept, first.certificate) == (None, 2, None)
    assert (second.gain, second.gain_se, second.kept, second.expected_gain) == (0.5, 0.125, 1, 0.4)
    assert (last.weights, last.certificate) == ([], 0.0625)
    page = render(made)
    assert "How the weights were chosen" in page
    assert "Left to gain at most" in page
    assert Report.from_json(made.to_json(), "here") == made


def test_a_sweep_whose_weights_were_known_says_nothing_of_rounds(report: Callable[..., Report]) -> None:
    made = report("plain", m=2, n=5, units=16)
    assert made.runs[0].rounds == []
    assert "How the weights were chosen" not in render(made)


@pytest.mark.parametrize("broken", [{"weights": []}, "text"])
def test_rounds_that_do_not_hang_together_are_an_error(report: Callable[..., Report], broken: Any) -> None:
    def edit(content: dict[str, Any]) -> None:
        content["rounds"] = [broken]

    with pytest.raises(ArtifactError, match="rounds"):
        report("broken", m=2, n=5, units=16, edit=edit)
