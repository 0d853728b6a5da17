"""front.json as a pure function: its digest ignores what may differ, its blocks survive hostile scores."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.cells import Cell, Cost
from pareto.errors import ArtifactError, ShapeError
from pareto.objectives import Objective, Objectives
from pareto.study import front_json
from pareto.study.front_json import Scored
from pareto.study.rows import Row
from pareto.study.scores import ScoreFile, check_scores, plain, read_scores, scores_bytes
from pareto.tasks.protocol import Scores

OBJECTIVES = Objectives([Objective("a"), Objective("b", "min")])


def scored(
    name: str, mean: tuple[float, float], weights: Any = None, facts: Any = None, n: int = 8
) -> Scored:
    spread = np.linspace(-0.1, 0.1, n)[:, None]
    values = np.array(mean) + spread
    ids = np.array([f"u{i}" for i in range(n)])
    file = ScoreFile(values, values + 0.01, ids, ids, facts or {})
    policy = {
        **{"id": name, "kind": "k", "weights": weights, "weights_kind": "simplex", "extra": {}},
        **{"files": {}, "folder": "."},
    }
    return Scored(Cell("policy", "method", {"name": name}), policy, file, {})


def named(a: float) -> dict[str, float]:
    return {"a": a, "b": 1 - a}


def test_corners_are_those_with_the_largest_weight() -> None:
    policies = [scored(f"p{w}", (w, w), named(w)) for w in (0.1, 0.5, 0.9, 0.9)]
    assert [p.policy["id"] for p in front_json.corner_policies(policies, OBJECTIVES)] == [
        "p0.1",
        "p0.9",
        "p0.9",
    ]
    policies.append(scored("archive", (2, 2)))
    assert len(front_json.corner_policies(policies, OBJECTIVES)) == 5


def test_reference_looks_at_selection_values() -> None:
    policies = [scored("x", (0.0, 0.0), named(0.0)), scored("y", (1.0, 2.0), named(1.0))]
    point = front_json.corner_reference(policies, OBJECTIVES)
    # selection values are held-out ones plus .01; a is maximised, b minimised; ranges 1 and 2
    assert point == pytest.approx([0.01 - 0.1, 2.01 + 0.2])
    assert front_json.corner_reference([], OBJECTIVES) is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("split", ["heldout", "selection"])
def test_one_bad_number_quarantines_one_policy(value: float, split: str) -> None:
    policies = [scored(f"p{i}", (i, i * i)) for i in range(4)]
    getattr(policies[2].scores, split)[5, 1] = value
    point = np.array([-1.0, 20.0])
    records, quarantined = front_json.policy_records(policies, OBJECTIVES, point)
    assert [r["id"] for r in records] == ["p0", "p1", "p3"]
    what = "nan" if np.isnan(value) else "infinity"
    assert quarantined == [{"id": "p2", "why": f"{what} in b: 1 of 8 {split} units, first u5"}]
    without = [p for i, p in enumerate(policies) if i != 2]
    assert records == front_json.policy_records(without, OBJECTIVES, point)[0]
    assert front_json.indicator_block(policies, OBJECTIVES, point) == front_json.indicator_block(
        without, OBJECTIVES, point
    )


def test_all_bad_or_none_at_all() -> None:
    bad = scored("p", (0, 0))
    bad.scores.heldout[:] = np.nan
    for policies in ([bad], []):
        assert front_json.policy_records(policies, OBJECTIVES, None)[0] == []
        assert front_json.indicator_block(policies, OBJECTIVES, np.zeros(2))["hypervolume"] is None


def test_one_unit_has_no_interval() -> None:
    (record,), _ = front_json.policy_records([scored("p", (1, 1), n=1)], OBJECTIVES, np.array([0.0, 9.0]))
    assert record["ci95"] == {"a": None, "b": None}
    assert (
        front_json.indicator_block([scored("p", (1, 1), n=1)], OBJECTIVES, np.array([0.0, 9.0]))[
            "hypervolume_ci95"
        ]
        is None
    )


def test_other_units_have_no_paired_interval() -> None:
    x, y = scored("x", (1, 1)), scored("y", (2, 2))
    y.scores.heldout_ids[0] = "other"
    block = front_json.indicator_block([x, y], OBJECTIVES, np.array([0.0, 9.0]))
    assert block["hypervolume_ci95"] is None
    assert block["hypervolume"] > 0


def test_facts_go_into_the_record_and_must_not_hide_it() -> None:
    facts = {
        "selection": {"kl_nats": 1.0, "optimality": 0.9},
        "heldout": {"kl_nats": 2.0, "text": {"length_tokens": 3}},
    }
    (record,), _ = front_json.policy_records([scored("p", (1, 1), facts=facts)], OBJECTIVES, None)
    assert (record["kl_nats"], record["optimality"], record["text"]) == (2.0, 0.9, {"length_tokens": 3})
    assert record["hypervolume_contribution"] is None
    with pytest.raises(ArtifactError, match="values"):
        front_json.policy_records([scored("p", (1, 1), facts={"heldout": {"values": 1}})], OBJECTIVES, None)


FRONT: dict[str, Any] = {
    "policies": [{"id": "p", "values": {"a": 1.0}, "files": {"x.json": "00"}}],
    "cost": {
        "train_tokens": 5,
        **dict.fromkeys(("wall_s", "peak_rss_mb", "peak_gpu_mb"), 1.0),
        "wasted_tokens": 0,
        "wasted_steps": 0,
    },
    "provenance": {"config_sha256": "1", "created": "x", "platform": "x", "versions": {}},
}


@pytest.mark.parametrize(
    "path",
    [
        *(("cost", k) for k in ("wall_s", "peak_rss_mb", "peak_gpu_mb", "wasted_tokens", "wasted_steps")),
        *(("provenance", k) for k in ("created", "platform", "versions", "content_sha256")),
    ],
)
def test_digest_ignores_what_may_differ(path: tuple[str, str]) -> None:
    other = copy.deepcopy(FRONT)
    other[path[0]][path[1]] = "something else"
    assert front_json.content_sha256(other) == front_json.content_sha256(FRONT)


def test_digest_sees_everything_else() -> None:
    changes = []
    for path, value in (
        (("policies", 0, "values", "a"), np.nextafter(1.0, 2.0)),
        (("policies", 0, "files", "x.json"), "01"),
        (("cost", "train_tokens"), 6),
        (("provenance", "config_sha256"), "2"),
        (("new",), 1),
    ):
        other: Any = copy.deepcopy(FRONT)
        inner = other
        for key in path[:-1]:
            inner = inner[key]
        inner[path[-1]] = value
        changes.append(front_json.content_sha256(other))
    assert len({front_json.content_sha256(FRONT), *changes}) == 6


def test_cost_adds_results_waste_and_lost_time() -> None:
    cost = {**Cost(train_tokens=10, wall_s=2.0, peak_rss_mb=5.0).__dict__}
    cell = Cell("policy", "method", {})
    rows = [
        Row(cell, "done", 1, None, {"cost": cost}, 3, 1, 0.5, None),
        Row(cell, "failed", 3, {}, None, 7, 0, 4.0, None),
    ]
    total = front_json.cost_block(rows)
    assert (total["train_tokens"], total["wasted_tokens"], total["wasted_steps"]) == (10, 10, 1)
    assert (total["wall_s"], total["peak_rss_mb"]) == (6.5, 5.0)


def test_score_files_round_trip_without_pickle(tmp_path: Path) -> None:
    ids = np.array(["é", "b", "c"], dtype=object)  # object arrays would need pickle
    heldout = Scores(
        np.array([[1, 2], [3, np.nan], [5, 6]]), ids, "heldout", {"kl": np.float32(0.5), "bad": np.nan}
    )
    selection = Scores(np.zeros((2, 2), dtype=np.float32), np.arange(2), "selection")
    data = scores_bytes({"heldout": heldout, "selection": selection})
    assert data == scores_bytes({"selection": selection, "heldout": heldout})
    (tmp_path / "s.npz").write_bytes(data)
    read = read_scores(tmp_path / "s.npz")
    assert np.array_equal(read.heldout, heldout.values, equal_nan=True)
    assert read.heldout_ids.tolist() == ["é", "b", "c"]
    assert read.selection_ids.tolist() == ["0", "1"]
    assert read.facts == {"heldout": {"kl": 0.5, "bad": None}, "selection": {}}
    for cut in (0, 10, len(data) // 2):
        (tmp_path / "s.npz").write_bytes(data[:cut])
        with pytest.raises(ArtifactError, match=r"s\.npz"):
            read_scores(tmp_path / "s.npz")
    np.savez(tmp_path / "s.npz", values=np.array([{}], dtype=object))
    with pytest.raises(ArtifactError):
        read_scores(tmp_path / "s.npz")


@pytest.mark.parametrize(
    ("values", "ids", "split"),
    [
        (np.zeros((3, 3)), np.arange(3), "heldout"),
        (np.zeros(3), np.arange(3), "heldout"),
        (np.zeros((0, 2)), np.arange(0), "heldout"),
        (np.zeros((3, 2)), np.arange(2), "heldout"),
        (np.zeros((3, 2)), np.arange(3), "selection"),
    ],
)
def test_scores_of_the_wrong_shape_or_split_are_refused(values: Any, ids: Any, split: str) -> None:
    with pytest.raises(ShapeError, match="p1"):
        check_scores(Scores(values, ids, split), "heldout", OBJECTIVES, "p1")


def test_plain() -> None:
    value = {"a": np.array([1.0, np.inf]), 2: (np.int64(3), np.bool_(True)), "p": Path("x"), "n": None}
    assert plain(value) == {"a": [1.0, None], "2": [3, True], "p": "x", "n": None}
