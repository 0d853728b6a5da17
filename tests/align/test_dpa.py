"""DPA: directions and winners by hand; one policy that goes where it is told, towards an objective and away from it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto import rng
from pareto.align import DPA
from pareto.align.dpa import best_in_direction, half_sphere
from pareto.align.reward_job import PairReward, RidgeReward, ValueReward
from pareto.cells import Cell, FitContext
from pareto.core.loop import TrainConfig
from pareto.errors import ConfigError, ObjectiveError
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.models.generate import Sampling
from pareto.study.config import load_study
from pareto.study.plan import plan_study
from pareto.tasks.lab import Lab, language

DIAGONAL = 2**-0.5
DIRECTIONS = {
    "helpful": {"helpful": 1.0, "brief": 0.0},
    "brief": {"helpful": 0.0, "brief": 1.0},
    "not brief": {"helpful": DIAGONAL, "brief": -DIAGONAL},
}
TRAINING = TrainConfig(steps=150, batch_size=64, lr=3e-3)
VALUES = ValueReward(training=TrainConfig(steps=200, batch_size=128, lr=3e-3), adapter=FullFineTuning())


def method(**more: Any) -> DPA:
    settings = {
        "iterations": 1,
        "draws": 1024,
        "candidates": 6,
        "reward": VALUES,
        "training": TRAINING,
        "adapter": FullFineTuning(),
    }
    return DPA(**{**settings, **more})


def fit(own: Any, lab: Lab, weights: list[dict[str, float]], reference: Path, root: Path) -> dict[str, Path]:
    """Do all cells of a plan after the reference; id -> folder."""
    cells = own.plan(lab, weights, [0])
    done = {cells[0].id: reference}
    for cell in cells[1:]:
        done[cell.id] = train(own, lab, cell, done, root)[0]
    return done


def train(own: Any, lab: Lab, cell: Cell, done: dict[str, Path], root: Path) -> tuple[Path, Any]:
    needs = {name: done[cell_id] for name, cell_id in cell.needs.items()}
    context = FitContext(root / cell.id, root / f"{cell.id}-scratch", needs)
    context.folder.mkdir(parents=True)
    context.scratch.mkdir(exist_ok=True)
    return context.folder, own.train(cell, lab, context)


def value(lab: Lab, folder: Path, weights: dict[str, float], reference: Path) -> np.ndarray:
    return lab.score(folder, "prompt", weights, "selection", {"reference": reference}).values.mean(0)


def test_directions_lie_on_the_half_that_wants_more():
    v = half_sphere(2, 4000, rng.generator("test"))
    assert np.allclose(np.linalg.norm(v, axis=1), 1.0)
    angles = np.degrees(np.arctan2(v[:, 1], v[:, 0]))
    assert angles.min() >= -45.0
    assert angles.max() <= 135.0
    assert np.histogram(angles, bins=4, range=(-45, 135))[0] == pytest.approx(1000, abs=120)  # uniform
    assert (half_sphere(5, 100, rng.generator("test")).sum(1) >= 0).all()


def test_the_best_in_each_direction_by_hand():
    values = np.array([[1.0, 0.0], [0.0, 2.0], [1.0, 0.0], [3.0, 3.0], [-np.inf, -np.inf], [5.0, -9.0]])
    owner = np.array([0, 0, 0, 1, 2, 3])
    directions = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, -1.0]])
    # the first of two equal ones; the only one; none that ended; least of the second is best of all
    assert best_in_direction(values, directions, owner).tolist() == [0, 3, -1, 5]
    assert best_in_direction(values[:3], directions[1:2], owner[:3]).tolist() == [1]


@pytest.fixture(scope="module")
def trained(small_lab: Lab, lab_reference: Path, tmp_path_factory) -> tuple[DPA, dict[str, Path]]:
    own = method()
    return own, fit(own, small_lab, list(DIRECTIONS.values()), lab_reference, tmp_path_factory.mktemp("dpa"))


def test_one_policy_goes_where_it_is_told(trained, small_lab: Lab, lab_reference: Path):
    own, done = trained
    cells = {
        name: next(c for c in own.plan(small_lab, [w], [0]) if c.weights) for name, w in DIRECTIONS.items()
    }
    at = {
        name: value(small_lab, done[cell.id], DIRECTIONS[name], lab_reference) for name, cell in cells.items()
    }
    with np.load(lab_reference / "enumerated.npz") as z:
        ref = z["ref_logps"][: small_lab.prompts - small_lab.heldout]
    start = np.einsum("py,mpy->m", np.exp(ref), small_lab.world.rewards()[:, : len(ref)]) / len(ref)
    assert at["helpful"][0] > start[0] + 1.0
    assert at["brief"][1] > start[1] + 1.0
    assert at["helpful"][0] > at["brief"][0] + 1.0
    assert at["not brief"][1] < start[1] - 1.0  # a negative weight acts in its direction
    stored = json.loads((done[cells["not brief"].id] / "policy.json").read_text())
    assert (stored["kind"], stored["weights_kind"]) == ("prompt", "direction")


def test_every_round_moves_the_policy_further(trained, small_lab: Lab, lab_reference: Path):
    """Along every direction the policy of round 1 is better than that of round 0."""
    own, done = trained
    rounds = [c for c in own.plan(small_lab, [], [0]) if "round" in c.spec]
    gains = []
    for w in DIRECTIONS.values():
        values = []
        for cell in rounds:
            folder = done[cell.id]
            (folder / "policy.json").write_text(json.dumps({"weights": w}))
            values.append(value(small_lab, folder, w, lab_reference) @ small_lab.objectives.vector(w))
            (folder / "policy.json").unlink()
        gains.append(values[1] - values[0])
    assert min(gains) > 0.1


def test_the_reward_model_says_how_well_it_does_on_prompts_it_did_not_see(trained, small_lab: Lab):
    own, done = trained
    reward = next(c for c in own.plan(small_lab, [], [0]) if c.spec.get("part") == "reward")
    facts = json.loads((done[reward.id] / "reward_fit.json").read_text())
    assert set(facts["r2"]) == {"helpful", "brief"}
    assert max(facts["r2"].values()) <= 1.0


def test_a_killed_round_goes_on_where_it_was(trained, small_lab: Lab, tmp_path: Path):
    """With the replies it had drawn and its last checkpoint: the same bytes as without a kill."""
    settings = {"training": TRAINING.model_copy(update={"steps": 8, "checkpoint_every": 4, "log_every": 1})}
    own = method(**settings, draws=64)
    _, done = trained
    cells = own.plan(small_lab, [], [0])
    plan = {c.spec.get("round"): c for c in cells}
    reward_id = next(c.id for c in cells if c.spec.get("part") == "reward")
    before = next(c for c in method().plan(small_lab, [], [0]) if c.spec.get("round") == 0)
    done = {cells[0].id: done[cells[0].id], reward_id: done[reward_id], plan[0].id: done[before.id]}
    whole, fitted = train(own, small_lab, plan[1], done, tmp_path / "whole")
    # three phrases and the end, six candidates; a reply now and then ends early
    assert fitted.cost.generated_tokens == pytest.approx(64 * 6 * 4, rel=0.02)

    class Killed(Exception):
        pass

    def stop(figures):
        if figures["step"] == 6:
            raise Killed

    root = tmp_path / "killed"
    needs = {name: done[cell_id] for name, cell_id in plan[1].needs.items()}
    context = FitContext(root / "first", root / f"{plan[1].id}-scratch", needs, log=stop)
    context.folder.mkdir(parents=True)
    context.scratch.mkdir()
    with pytest.raises(Killed):
        own.train(plan[1], small_lab, context)
    resumed, _ = train(own, small_lab, plan[1], done, root)
    for name in ("model.safetensors", "conditioning.safetensors"):
        assert (whole / name).read_bytes() == (resumed / name).read_bytes()


@pytest.mark.parametrize(
    ("reward", "fact"),
    [
        (RidgeReward(), "r2"),
        (PairReward(training=TrainConfig(steps=60, batch_size=64, lr=3e-3), adapter=LoRA(r=4)), "accuracy"),
    ],
)
def test_every_source_of_rewards_trains_on_adapters(
    reward: Any, fact: str, small_lab: Lab, lab_reference: Path, tmp_path: Path
):
    own = method(
        reward=reward,
        iterations=0,
        draws=64,
        adapter=LoRA(r=2),
        training=TrainConfig(steps=3, batch_size=32, lr=1e-3),
    )
    done = fit(own, small_lab, [DIRECTIONS["helpful"]], lab_reference, tmp_path)
    cells = own.plan(small_lab, [DIRECTIONS["helpful"]], [0])
    facts = json.loads((done[cells[1].id] / "reward_fit.json").read_text())[fact]
    assert all(v is not None for v in facts.values())
    files = {p.name for p in done[cells[-1].id].iterdir()}
    assert {"adapter_model.safetensors", "conditioning.safetensors", "policy.json"} <= files
    assert np.isfinite(value(small_lab, done[cells[-1].id], DIRECTIONS["helpful"], lab_reference)).all()


def test_scores_are_needed_where_scores_are_learned(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    class Unscored(Lab):
        def load_rewards(self, folder: Path) -> np.ndarray:
            found = super().load_rewards(folder).copy()
            found[:, 1] = np.nan
            return found

    lab = Unscored(**small_lab.model_dump(exclude={"reference"}), reference=small_lab.reference)
    with pytest.raises(ObjectiveError, match=r"no reply under brief.*kind: pairs"):
        fit(method(reward=RidgeReward()), lab, [], lab_reference, tmp_path)


def test_directions_and_weights_are_not_mistaken_for_each_other():
    study = {
        "study": "s",
        "task": {"kind": "lab"},
        "method": {"name": "dpa"},
        "weights": {"kind": "directions", "n": 9},
    }
    plan = plan_study(load_study(study))
    assert len(plan.weights) == 9
    assert any(w["brief"] < 0 for w in plan.weights)
    with pytest.raises(ConfigError, match="'dpa' takes unit directions"):
        plan_study(load_study({**study, "weights": {"kind": "cells", "n": 5}}))
    with pytest.raises(ConfigError, match="'modpo' takes weights on the simplex"):
        plan_study(load_study({**study, "method": {"name": "modpo"}}))


def test_objects_in_a_policy_that_reads_directions_out(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    """On a user's model and scored rows, with adapters: measured, and steered to a direction that was not measured."""
    draw = np.random.default_rng(0)
    rows = []
    for p in small_lab.world.prompts:
        replies = [
            language.response_text(small_lab.world.responses[i]) for i in draw.choice(27, 5, replace=False)
        ]
        scores = [{"short": -len(r) / 10, "es": float(r.count("e"))} for r in replies]
        rows.append({"prompt": language.prompt_text(p), "responses": replies, "scores": scores})
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    own = DPA(
        iterations=1,
        draws=64,
        candidates=3,
        sampling=Sampling(max_new_tokens=6),
        training=TrainConfig(steps=4, batch_size=16, lr=1e-3),
        adapter=LoRA(r=2),
    )
    run = own.fit(model, tokenizer, rows, n_weights=5, out=tmp_path / "run")
    assert run.weights_kind == "direction"
    assert run.weights.min() < 0
    assert all(r.facts["kl_nats"] is not None for r in run)  # to the reference, with the adapter off
    policy = run.steer({"short": 0.6, "es": 0.8})
    prompt = language.prompt_text(small_lab.world.prompts[0])
    assert len(policy.generate([prompt], max_new_tokens=4)) == 1
    guided = run.steer({"short": 0.6, "es": -0.8}, method="guided", base="auto", candidates=2)
    assert len(guided.generate([prompt], max_new_tokens=4)) == 1
