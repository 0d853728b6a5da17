"""Sweeps whose next weights depend on results: same answer after any interruption, more of them later, honest early stops."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.cells import Cell
from pareto.errors import ConfigError, Interrupted
from pareto.objectives import Objective, Objectives
from pareto.study import run as study_run
from pareto.study.config import EarlyConfig
from pareto.study.controller import Notice
from pareto.study.early import kept
from pareto.study.front_json import Scored
from pareto.study.measured import Measured, measured
from pareto.study.rounds import Round, next_rounds, scaled, unscaled, within
from pareto.study.scores import ScoreFile
from pareto.study.store import Store

SEARCH = ("weights.kind=linear_support", "weights.n=7")
OBJECTIVES = Objectives([Objective("gain"), Objective("cost", "min", "s")])


def go(study: Any, folder: Path, **options: Any) -> dict[str, Any]:
    study_run.run_study(study, folder, workers=0, **options)
    return json.loads((folder / "front.json").read_text())


def weights_of(front: Mapping[str, Any]) -> list[float]:
    return [round(p["weights"]["gain"], 4) for p in front["policies"]]


def sha(front: Mapping[str, Any]) -> str:
    return front["provenance"]["content_sha256"]


def test_corners_come_first_and_fix_the_reference_point(study: Any, tmp_path: Path) -> None:
    told: list[str] = []
    points: list[Any] = []

    def notify(notice: Notice) -> None:
        if notice.kind == "choosing":
            with Store(tmp_path / "run" / "sweep.db") as store:
                points.append(store.get("ref_point"))
        told.append(notice.kind)

    front = go(study(*SEARCH), tmp_path / "run", notify=notify)
    assert weights_of(front)[:2] == [1.0, 0.0]
    assert len(set(weights_of(front))) == 7
    assert [len(r["weights"]) for r in front["rounds"]] == [2, 2, 2, 1] or sum(
        len(r["weights"]) for r in front["rounds"]
    ) == 7
    assert points[0] is not None
    assert all(point == points[0] for point in points)  # nothing after the corners moves it
    assert front["ref_point"] == pytest.approx(points[0])
    assert told.count("plan") == told.count("choosing")
    assert front["rounds"][1]["facts"]["certificate"] > 0


@pytest.mark.parametrize("stop_at", [1, 3, 5])
def test_an_interrupted_search_goes_on_as_if_nothing_had_happened(
    study: Any, tmp_path: Path, stop_at: int
) -> None:
    whole = go(study(*SEARCH), tmp_path / "whole")
    done: list[str] = []

    def notify(notice: Notice) -> None:
        if notice.kind == "done":
            done.append("done")

    with pytest.raises(Interrupted):
        study_run.run_study(
            study(*SEARCH), tmp_path / "run", workers=0, notify=notify, stop=lambda: len(done) >= stop_at
        )
    assert sha(go(study(*SEARCH), tmp_path / "run")) == sha(whole)


def test_a_larger_n_goes_on_where_a_smaller_one_ended(study: Any, tmp_path: Path) -> None:
    whole = go(study(*SEARCH), tmp_path / "whole")
    few = go(study("weights.kind=linear_support", "weights.n=5"), tmp_path / "run")
    assert weights_of(whole)[:5] == weights_of(few)
    more = go(study(*SEARCH), tmp_path / "run")
    assert weights_of(more) == weights_of(whole)
    assert more["indicators"] == whole["indicators"]
    again = go(study("weights.kind=linear_support", "weights.n=5"), tmp_path / "run")
    assert weights_of(again) == weights_of(few)


def test_another_kind_in_the_same_folder_starts_anew_and_reuses_cells(study: Any, tmp_path: Path) -> None:
    go(study(*SEARCH), tmp_path / "run")
    ran: list[Cell] = []

    def notify(notice: Notice) -> None:
        if notice.kind == "start" and notice.cell is not None:
            ran.append(notice.cell)

    front = go(study("weights.n=5"), tmp_path / "run", notify=notify)
    assert "rounds" not in front
    assert {round(c.weights["gain"], 4) for c in ran if c.weights} & {1.0, 0.0} == set()


def test_scale_divides_by_the_ranges_of_the_corners(study: Any, tmp_path: Path) -> None:
    front = go(study("weights.scale=ranges", "weights.n=6"), tmp_path / "run")
    plain = go(study("weights.n=6"), tmp_path / "plain")
    ranges = np.array(front["rounds"][1]["facts"]["ranges"])
    corners = {p["weights"]["gain"]: p["selection"]["values"] for p in front["policies"][:2]}
    by_hand = [abs(corners[1.0][n] - corners[0.0][n]) for n in ("gain", "cost")]
    assert ranges == pytest.approx(by_hand)
    preferences = np.array([[p["weights"]["gain"], p["weights"]["cost"]] for p in plain["policies"][2:]])
    want = preferences / by_hand
    want /= want.sum(axis=1, keepdims=True)
    assert weights_of(front)[2:] == pytest.approx(want[:, 0], abs=1e-4)
    np.testing.assert_allclose(unscaled(scaled(preferences, ranges), ranges), preferences)
    # an objective with three times the range needs a third of the weight
    np.testing.assert_allclose(scaled(np.array([[0.5, 0.5]]), np.array([1.0, 3.0])), [[0.75, 0.25]])


def test_warm_starts_need_the_nearest_finished_policy_and_cost_their_share(
    study: Any, tmp_path: Path
) -> None:
    front = go(study(*SEARCH, "weights.warm_start=0.5"), tmp_path / "run")
    cold = go(study(*SEARCH), tmp_path / "cold")
    assert front["cost"]["train_tokens"] < cold["cost"]["train_tokens"]
    second = front["rounds"][1]
    corners = np.eye(2)
    for weights, start in zip(second["weights"], second["starts"]):
        at = np.array([weights["gain"], weights["cost"]])
        nearest = corners[np.linalg.norm(corners - at, axis=1).argmin()]
        assert [start["gain"], start["cost"]] == nearest.tolist()
    starts = {p["id"]: p["needs"].get("start") for p in front["policies"]}
    assert sum(s is not None for s in starts.values()) == 5


def test_halving_trains_half_of_the_candidates_on(study: Any, tmp_path: Path) -> None:
    settings = ("weights.n=8", "weights.early.rule=halving", "weights.early.at=0.5")
    front = go(study(*settings), tmp_path / "run")
    assert len(front["policies"]) == 2 + 3
    assert len(front["rounds"][1]["kept"]) == 3
    with Store(tmp_path / "run" / "sweep.db") as store:
        roles = [row.cell.role for row in store.rows()]
    assert roles.count("candidate") == 6
    assert all(p["needs"].get("start") for p in front["policies"][2:])
    # 2 whole corners, 6 halves, 3 second halves, a margin corner that is one of the two, and the reference's 7
    assert front["cost"]["train_tokens"] == (2 * 12 + 6 * 6 + 3 * 6) * 10 + 7
    assert sha(go(study(*settings), tmp_path / "run")) == sha(front)


@pytest.mark.parametrize(("noise", "goes_on"), [(2.0, False), (0.0001, True)])
def test_patience_ends_a_search_that_gains_less_than_noise(study: Any, noise: float, goes_on: bool) -> None:
    """The last round added a point that sticks out by .05 beyond the line between its neighbours."""
    made = study(*SEARCH, "weights.n=30", "weights.patience=1")
    draw = np.random.default_rng(3)
    means = {1.0: (1.0, 1.0), 0.0: (0.0, 0.0), 0.5: (0.55, 0.45)}
    policies = [scored(f"p{w}", np.array(v) + draw.normal(0, noise, (40, 2)), w) for w, v in means.items()]
    rounds = tuple(Round(tuple({"gain": w, "cost": 1 - w} for w in ws)) for ws in ((1.0, 0.0), (0.5,)))
    after = next_rounds(made, rounds, policies, [], np.array([-0.1, 1.1]))
    assert after is not None
    facts = after[-1].facts
    # the new point (.55, -.45) adds the rectangle between (0, -1) and (1, 0) that it covers: .55 x .55
    if goes_on:
        assert facts["gain"] == pytest.approx(0.55 * 0.55, abs=0.01)
    assert (facts["gain"] > facts["gain_se"]) == goes_on
    assert bool(after[-1].weights) == goes_on


def test_what_cannot_be_is_refused_before_anything_is_written(
    study: Any, fakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match=r"needs weights\.n"):
        study_run.run_study(study("weights.kind=linear_support", "weights.n=2"), tmp_path / "run", workers=0)
    monkeypatch.delattr(fakes.FakeMethod, "restarted")
    for setting in ("weights.warm_start=0.5", "weights.early.rule=halving"):
        with pytest.raises(ConfigError, match="'fake_method' cannot; remove the key"):
            study_run.run_study(study(setting), tmp_path / "run", workers=0)
    assert not (tmp_path / "run").exists()


def test_within_cuts_a_round_and_keeps_the_rest_for_later() -> None:
    def some(n: int, first: float) -> tuple[dict[str, float], ...]:
        return tuple({"a": first + i / 100, "b": 1 - first - i / 100} for i in range(n))

    rounds = (Round(some(2, 0.0)), Round(some(3, 0.3), kept=(0, 2)), Round(some(3, 0.6)))
    cut = within(rounds, 4)
    assert [len(r.weights) for r in cut] == [2, 2]
    assert cut[1].kept == (0,)
    assert within(rounds, None) == rounds
    assert [len(r.weights) for r in within(rounds, 8)] == [2, 3, 3]
    assert Round.from_json(json.loads(json.dumps(cut[1].to_json()))) == cut[1]


def scored(name: str, values: np.ndarray, gain: float, seed: int = 0, **extra: Any) -> Scored:
    ids = np.array([f"u{i}" for i in range(len(values))])
    file = ScoreFile(values, values, ids, ids, {"selection": {"kl_nats": 2.0}})
    policy = {"id": name, "kind": "k", "weights": {"gain": gain, "cost": 1 - gain}, "extra": extra}
    return Scored(Cell("policy", "method", {"name": name}, seed=seed), policy, file, {})


def test_noise_that_all_policies_share_is_no_uncertainty_of_a_choice() -> None:
    draw = np.random.default_rng(0)
    shared, own = draw.normal(0, 5, (400, 2)), draw.normal(0, 0.1, (6, 400, 2))
    found = measured([scored(f"p{i}", shared + own[i] + i, i / 5) for i in range(6)], OBJECTIVES)
    # the variance of a mean of 400 draws with standard deviation .1
    assert found.variances == pytest.approx(np.full((6, 2), 0.1**2 / 400), rel=0.25)
    assert found.values[:, 1] == pytest.approx([-(shared + own[i] + i).mean(axis=0)[1] for i in range(6)])


def test_seeds_that_disagree_widen_the_error_and_offsets_hold_the_penalty() -> None:
    units = np.zeros((10, 2))
    policies = [
        scored(f"p{w}{s}", units + w + shift, w, s, beta=0.5)
        for w in (0.0, 0.5, 1.0)
        for s, shift in enumerate((-0.3, 0.3))
    ]
    found = measured(policies, OBJECTIVES)
    assert len(found.weights) == 3
    # two seeds at +-.3: their variance is .18, that of their mean .09
    assert found.variances == pytest.approx(np.full((3, 2), 0.09))
    assert found.offsets == pytest.approx([-0.5 * 2.0] * 3)
    assert len(measured([], OBJECTIVES).weights) == 0


def test_dominated_candidates_stop_only_when_it_is_sure() -> None:
    def some(values: list[list[float]], noise: float) -> Measured:
        draw = np.random.default_rng(1)
        units = np.array(values)[:, None] + draw.normal(0, noise, (len(values), 50, 2))
        n = len(values)
        return Measured(
            np.zeros((n, 2)), units.mean(axis=1), np.full((n, 2), noise**2 / 50), np.zeros(n), units
        )

    rule, point = EarlyConfig(rule="dominated"), np.zeros(2)
    candidates, others = [[1.0, 1.0], [0.5, 0.5], [0.2, 2.0]], [[0.9, 0.9]]
    sure = kept(rule, some(candidates, 0.01), some(others, 0.01), point)
    assert sure.tolist() == [True, False, True]
    assert kept(rule, some(candidates, 5.0), some(others, 5.0), point).all()
    unpaired = Measured(
        *(lambda m: (m.weights, m.values, m.variances, m.offsets, None))(some(candidates, 0.01))
    )
    assert kept(rule, unpaired, some(others, 0.01), point).tolist() == [True, False, True]


def test_halving_keeps_a_set_and_not_the_best_one_by_one() -> None:
    """Two near twins in the middle and two at the ends: by single hypervolume the twins win, as a set they do not."""
    values = np.array([[0.70, 0.70], [0.699, 0.699], [0.95, 0.3], [0.3, 0.95]])
    found = Measured(np.zeros((4, 2)), values, np.zeros((4, 2)), np.zeros(4), None)
    keep = kept(EarlyConfig(rule="halving"), found, found, np.zeros(2))
    assert keep.sum() == 2
    assert keep[0]
    assert not keep[1]
