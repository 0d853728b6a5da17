import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.errors import ArtifactError
from pareto.front import expected_utility
from pareto.report import Report, build, read_run, render


@pytest.mark.parametrize(("m", "sparse"), [(1, False), (1, True), (2, True), (3, True), (4, False)])
def test_every_shape_of_run_becomes_a_page(report: Callable[..., Report], m: int, sparse: bool) -> None:
    made = report(f"m{m}-{sparse}", m=m, n=m + 4, sparse=sparse, exact=not sparse, units=16)
    run = made.runs[0]
    assert len(run.objectives) == m
    assert (run.exact is None) == sparse
    assert (run.steering == []) == sparse
    page = render(made)
    assert page.count("<section") == (3 if sparse else 7) - (1 if m == 1 else 0)


def test_the_tree_says_what_front_json_says(
    folder: Callable[..., Path], report: Callable[..., Report]
) -> None:
    front = json.loads((folder("ordinary") / "front.json").read_text())
    run = report("ordinary").runs[0]
    for stated, row in zip(front["policies"], run.policies, strict=True):
        assert row.id == stated["id"]
        assert row.values == list(stated["values"].values())
        assert row.weights == list(stated["weights"].values())
        assert [list(pair) for pair in row.ci95 if pair] == list(stated["ci95"].values())
        assert row.selection == list(stated["selection"]["values"].values())
        assert row.non_dominated == stated["non_dominated"]
        assert row.contribution == stated["hypervolume_contribution"]
        assert (row.kl_nats, row.kl_to_exact_nats, row.optimality) == (stated["kl_nats"], stated["kl_to_exact_nats"], stated["optimality"])  # fmt: skip
        assert row.text == stated["text"]
    assert run.ref_point == front["ref_point"]
    assert run.indicators == front["indicators"]
    assert (run.quarantined, run.failed) == (front["quarantined"], front["failed"])


def test_json_there_and_back(report: Callable[..., Report], folder: Callable[..., Path]) -> None:
    few = {"n": 3, "units": 16}
    several = build(
        [read_run(folder("few", **few)), read_run(folder("cheap", drift=0.9, method="soup", **few))]
    )
    assert several.comparison is not None
    for made in (several, report("few", **few), report("imported", sparse=True, exact=False)):
        again = Report.from_json(json.loads(made.dumps(indent=None)))
        assert again == made
        assert render(again) == render(made)


def test_a_figure_of_the_wrong_type_is_named(report: Callable[..., Report]) -> None:
    def edit(front: dict[str, Any]) -> None:
        front["policies"][1]["kl_nats"] = "far"

    with pytest.raises(
        ArtifactError, match=r"front.json of wrong: runs\.0\.policies\.1\.kl_nats: .* got 'far'"
    ):
        report("wrong", edit=edit)


@pytest.mark.parametrize(
    ("data", "message"),
    [([], "got 'list'"), ({"format": 2}, "got 2"), ({"format": 1, "title": "x", "runs": [{}]}, r"runs\.0\.")],
)
def test_json_that_is_no_report(data: Any, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        Report.from_json(data)


def test_trade_offs_by_hand(report: Callable[..., Report]) -> None:
    def edit(front: dict[str, Any]) -> None:
        front["policies"], front["exact"] = front["policies"][:4], None
        values = [
            (3.0, 40.0),
            (1.0, 10.0),
            (2.0, 14.0),
            (1.5, 60.0),
        ]  # tokens: less is better; the last is dominated
        for policy, (good, tokens) in zip(front["policies"], values):
            policy |= {"values": {"helpful": good, "tokens": tokens}, "ci95": None}

    run = report("trade", names=("helpful", "tokens"), edit=edit).runs[0]
    assert [(t.a, t.b, t.rate) for t in run.trade_offs] == [("2", "3", 4.0), ("3", "1", 26.0)]
    # scaled to the ends, 3 stands at (0.5, 26/30): its distance to the line x + y = 1
    assert [p.knee for p in run.policies] == pytest.approx([0.0, 0.0, (0.5 + 26 / 30 - 1) / np.sqrt(2), None])


def test_a_run_without_policies_is_a_report_of_what_failed(report: Callable[..., Report]) -> None:
    def edit(front: dict[str, Any]) -> None:
        front |= {"policies": [], "ref_point": None, "exact": None, "indicators": {"hypervolume": None}}

    made = report("nothing", edit=edit)
    assert made.runs[0].verdict.headline == "Hypervolume not known"
    assert "the loss became NaN at step 412" in render(made)


def test_directions_are_weights_too(report: Callable[..., Report]) -> None:
    def edit(front: dict[str, Any]) -> None:
        for policy in front["policies"]:
            policy["weights_kind"] = "direction"

    made = report("directions", m=3, n=10, edit=edit)
    assert "simplex" not in render(made).split('id="data"')[0].split("<main")[1]


def test_steps_of_three_objectives_by_hand(report: Callable[..., Report]) -> None:
    def edit(front: dict[str, Any]) -> None:
        front["policies"], front["exact"] = front["policies"][:3], None
        values = [(0.0, 10.0, 1.0), (4.0, 8.0, 1.0), (3.0, 0.0, 3.0)]
        for policy, found in zip(front["policies"], values):
            policy |= {"values": dict(zip(("helpful", "brief", "harmless"), found)), "ci95": None}

    run = report("steps", m=3, n=8, units=16, edit=edit).runs[0]
    # ranges 4, 10, 2: from 1 to 2 gains 4/4 and loses 2/10; from 2 to 3 gains 2/2 and loses 1/4 + 8/10, so it is turned
    assert [(s.a, s.b, s.changes) for s in run.steps] == [
        ("1", "2", [4.0, -2.0, 0.0]),
        ("3", "2", [1.0, 8.0, -2.0]),
    ]
    assert [s.price for s in run.steps] == pytest.approx([0.2, 1.0 / 1.05])
    assert "What a step to a neighbour on the front costs" in render(report("steps"))


def test_further_indicators_have_intervals(folder: Callable[..., Path]) -> None:
    def edit(front: dict[str, Any]) -> None:
        oriented = np.array([list(p["values"].values()) for p in front["policies"]])
        front["indicators"]["expected_utility"] = expected_utility(oriented)

    made = build([read_run(folder("further", n=5, edit=edit))]).runs[0]
    low, high = made.intervals["expected_utility"]
    assert low < made.indicators["expected_utility"] < high
    assert "hypervolume" not in made.intervals  # it has its own
    assert (
        "sparsity" not in made.intervals
    )  # the synthetic figure is not that of the scores: no interval stands for it
    assert "Further indicators, with 95 % intervals" in render(Report(title="", runs=[made]))


def test_groups_become_a_table(report: Callable[..., Report]) -> None:
    def edit(front: dict[str, Any]) -> None:
        for i, policy in enumerate(front["policies"]):
            policy["groups"] = {"old": {"helpful": 1.25 + i}, "young": {"helpful": 7.5, "brief": "?"}}
        front["policies"][0]["groups"] = None

    source = render(report("groups", n=4, units=16, edit=edit))
    table = source.split('id="groups-0"')[1].split("</section>")[0]
    heads = re.findall(r'<th scope="col(?:group)?"[^>]*>([^<]*)</th>', table)
    assert heads == ["#", "helpful", "old", "young"]
    assert re.findall(r"<td[^>]*>([^<]*)</td>", table)[:4] == ["\u2013", "\u2013", "2.25", "7.50"]


def test_groups_that_hold_no_numbers_are_no_table(report: Callable[..., Report]) -> None:
    def edit(front: dict[str, Any]) -> None:
        front["policies"][0]["groups"] = {"old": "unknown", "young": {"brief": None, "won": True}}

    assert 'id="groups-0"' not in render(report("no groups", n=4, units=16, edit=edit))
