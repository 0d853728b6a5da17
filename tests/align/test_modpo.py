"""MODPO as a method: its plan, its margins, and its policies against the exact optima."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.align.modpo import MODPO
from pareto.align.preference_job import implicit_rewards
from pareto.cells import Cell, FitContext
from pareto.core.loop import TrainConfig
from pareto.errors import ConfigError, NumericsError, ObjectiveError
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.tasks.lab import Lab

TRAINING = TrainConfig(steps=400, batch_size=64, lr=3e-3)
HALF = {"helpful": 0.5, "brief": 0.5}
CORNERS = [{"helpful": 1.0, "brief": 0.0}, {"helpful": 0.0, "brief": 1.0}]


def method(**more: Any) -> MODPO:
    return MODPO(
        **{"beta": 1.0, "mass_anchor": 0.1, "adapter": FullFineTuning(), "training": TRAINING, **more}
    )


def run(cells: list[Cell], own: MODPO, task: Any, reference: Path, root: Path) -> Mapping[str, Path]:
    """Train the cells after the reference one by one, as a study would; id -> folder."""
    done = {cells[0].id: reference}
    for cell in cells[1:]:
        context = FitContext(
            folder=root / cell.id,
            scratch=root / f"{cell.id}-scratch",
            needs={n: done[i] for n, i in cell.needs.items()},
        )
        context.folder.mkdir()
        context.scratch.mkdir()
        fitted = own.train(cell, task, context)
        assert [p.id for p in fitted.policies] == [cell.id]
        assert fitted.cost.train_tokens > 0
        done[cell.id] = context.folder
    return done


@pytest.fixture(scope="module")
def trained(small_lab: Lab, lab_reference: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Corners and the middle, trained on the small lab."""
    own = method()
    cells = own.plan(small_lab, [*CORNERS, HALF], [0])
    return {
        "cells": cells,
        "folders": run(cells, own, small_lab, lab_reference, tmp_path_factory.mktemp("modpo")),
    }


def test_policies_come_close_to_their_exact_optima(
    small_lab: Lab, lab_reference: Path, trained: dict[str, Any]
) -> None:
    """Loss, margins, reference, scoring: if any of them is wrong, the share of utility reached falls well below this."""
    for cell in trained["cells"][1:]:
        folder = trained["folders"][cell.id]
        facts = small_lab.score(
            folder, "model", cell.weights, "selection", {"reference": lab_reference}
        ).facts
        assert facts["optimality"] > 0.85, cell.weights
        assert facts["kl_nats"] > 0.2


def test_implicit_rewards_recover_the_true_ones(
    small_lab: Lab, lab_reference: Path, trained: dict[str, Any]
) -> None:
    """A corner's beta * log(pi / pi_ref) against the true reward, per prompt up to a constant."""
    truth, prompt = small_lab.load_rewards(lab_reference), small_lab.load_pairs(lab_reference).table.prompt_of
    for k, cell in enumerate(trained["cells"][1:3]):
        found = implicit_rewards(trained["folders"][cell.id])
        centred = [
            v - np.bincount(prompt, v)[prompt] / np.bincount(prompt)[prompt] for v in (found, truth[:, k])
        ]
        assert np.corrcoef(*centred)[0, 1] > 0.9
        other = truth[:, 1 - k] - np.bincount(prompt, truth[:, 1 - k])[prompt] / np.bincount(prompt)[prompt]
        assert abs(np.corrcoef(centred[0], other)[0, 1]) < 0.5


def test_a_policy_folder_says_what_it_is(trained: dict[str, Any]) -> None:
    folder = trained["folders"][trained["cells"][-1].id]
    assert json.loads((folder / "policy.json").read_text()) == {"kind": "model", "weights": HALF, "beta": 1.0}
    assert {p.suffix for p in folder.iterdir()} == {".json", ".safetensors"}


def test_plan_trains_shared_margins_once(small_lab: Lab) -> None:
    own = method()
    weights = [{"helpful": w, "brief": 1 - w} for w in (0.2, 0.5, 0.8)]
    cells = own.plan(small_lab, weights, [0, 1])
    assert len(cells) == len({c.id for c in cells}) == 1 + 2 * (2 + 3)
    position = {c.id: i for i, c in enumerate(cells)}
    for cell in cells:
        assert all(position[need] < position[cell.id] for need in cell.needs.values())
    assert [c.role for c in cells[1:3]] == [
        "prerequisite",
        "prerequisite",
    ]  # margins that nobody asked to see
    asked = own.plan(small_lab, [*CORNERS, *weights], [0])
    assert {c.id for c in asked} == {c.id for c in cells if c.seed == 0}  # the same work under the same name
    assert [c.role for c in asked[1:3]] == ["policy", "policy"]


def test_the_trained_objective_is_the_one_with_the_largest_weight() -> None:
    lab = Lab(objectives=["helpful", "brief", "honest"])  # type: ignore[arg-type]
    cell = method().plan(lab, [{"helpful": 0.2, "brief": 0.7, "honest": 0.1}], [0])[-1]
    assert set(cell.needs) == {"reference", "margin:helpful", "margin:honest"}
    cell = method().plan(lab, [{"helpful": 0.3, "brief": 0.7, "honest": 0.0}], [0])[-1]
    assert set(cell.needs) == {"reference", "margin:helpful"}  # no weight, no margin
    tie = method().plan(lab, [{"helpful": 1 / 3, "brief": 1 / 3, "honest": 1 / 3}], [0])[-1]
    assert set(tie.needs) == {"reference", "margin:brief", "margin:honest"}


def test_mixed_margins_need_only_the_implicit_corners() -> None:
    lab = Lab(objectives=["helpful", "brief", "honest"])  # type: ignore[arg-type]
    own = method(margins={"helpful": "implicit", "brief": "explicit", "honest": "implicit"})
    cells = own.plan(lab, [{"helpful": 0.6, "brief": 0.2, "honest": 0.2}], [0])
    assert set(cells[-1].needs) == {"reference", "margin:honest"}
    assert len(cells) == 3
    with pytest.raises(ConfigError, match="'honest'"):
        method(margins={"helpful": "implicit", "brief": "explicit"}).plan(
            lab, [{"helpful": 0.6, "brief": 0.2, "honest": 0.2}], [0]
        )


def test_what_changes_a_result_changes_the_id(small_lab: Lab) -> None:
    ids = {
        own.plan(task, [HALF], [seed])[-1].id
        for own, task, seed in (
            (method(), small_lab, 0),
            (method(beta=0.5), small_lab, 0),
            (method(margins="explicit"), small_lab, 0),
            (method(adapter=LoRA()), small_lab, 0),
            (method(), small_lab.model_copy(update={"seed": 1}), 0),
            (method(), small_lab, 1),
        )
    }
    assert len(ids) == 6


class Relabelled:
    """The small lab with other labels or rewards."""

    def __init__(self, lab: Lab, edit: Any = lambda pairs: pairs, rewards: Any = None) -> None:
        self.objectives, self.prerequisites, self.load_reference = (
            lab.objectives,
            lab.prerequisites,
            lab.load_reference,
        )
        self._lab, self._edit, self._rewards = lab, edit, rewards

    def load_pairs(self, folder: Path) -> Any:
        pairs = self._lab.load_pairs(folder)
        self._edit(pairs.labels)
        return pairs

    def load_rewards(self, folder: Path) -> np.ndarray:
        rewards = self._lab.load_rewards(folder)
        return rewards if self._rewards is None else self._rewards(rewards)


def quick(**more: Any) -> MODPO:
    return method(training=TrainConfig(steps=2, batch_size=16, lr=1e-3), **more)


def test_missing_labels_and_unknown_margins_are_masked(
    small_lab: Lab, lab_reference: Path, tmp_path: Path
) -> None:
    """Half the labels and half the margins are unknown: training goes on with the rest and stays finite."""

    def forget(labels: np.ndarray) -> None:
        labels[::2] = np.nan

    def half(rewards: np.ndarray) -> np.ndarray:
        rewards[::2] = np.nan
        return rewards

    task = Relabelled(small_lab, forget, half)
    own = quick(margins="explicit")
    cells = own.plan(task, [{"helpful": 0.6, "brief": 0.4}], [0])
    folders = run(cells, own, task, lab_reference, tmp_path)
    assert np.isfinite(implicit_rewards(folders[cells[-1].id])).all()


def test_labels_or_margins_that_are_all_unknown_are_an_error(
    small_lab: Lab, lab_reference: Path, tmp_path: Path
) -> None:
    nothing = Relabelled(small_lab, lambda labels: labels.fill(np.nan))
    own = quick(margins="explicit")
    cells = own.plan(nothing, [{"helpful": 0.6, "brief": 0.4}], [0])
    (tmp_path / "a").mkdir()
    with pytest.raises(ObjectiveError, match="no pair has a winner under objective 'helpful'"):
        run(cells, own, nothing, lab_reference, tmp_path / "a")
    blind = Relabelled(small_lab, rewards=lambda r: np.full_like(r, np.nan))
    (tmp_path / "b").mkdir()
    with pytest.raises(NumericsError, match="finite margin"):
        run(cells, own, blind, lab_reference, tmp_path / "b")


def test_explicit_margins_on_the_lab_serve_as_well(
    small_lab: Lab, lab_reference: Path, tmp_path: Path
) -> None:
    own = method(margins="explicit")
    cells = own.plan(small_lab, [HALF], [0])
    assert len(cells) == 2  # the reference and the policy: no corner is needed
    folder = run(cells, own, small_lab, lab_reference, tmp_path)[cells[-1].id]
    facts = small_lab.score(folder, "model", HALF, "selection", {"reference": lab_reference}).facts
    assert facts["optimality"] > 0.85


def test_a_restarted_cell_goes_on_from_another_policy_with_its_share_of_the_steps(
    small_lab: Lab, lab_reference: Path, trained: dict[str, Any], tmp_path: Path
) -> None:
    """From the middle's own policy eight steps keep what was reached; from the reference they do not suffice."""
    own, middle = method(), trained["cells"][-1]
    reached = {}
    for name, start in (("warm", middle.id), ("cold", None)):
        cell = own.restarted(middle, start, 0.02)
        assert cell.id != middle.id
        context = FitContext(
            folder=tmp_path / name,
            scratch=tmp_path / f"{name}-scratch",
            needs={n: trained["folders"][i] for n, i in cell.needs.items()},
        )
        context.folder.mkdir()
        context.scratch.mkdir()
        fitted = own.train(cell, small_lab, context)
        facts = small_lab.score(
            context.folder, "model", HALF, "selection", {"reference": lab_reference}
        ).facts
        reached[name] = facts["optimality"], fitted.cost.train_tokens
    assert reached["warm"][0] > 0.85 > reached["cold"][0] + 0.15
    assert reached["warm"][1] == pytest.approx(reached["cold"][1], rel=0.01)
