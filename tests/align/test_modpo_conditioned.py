"""One run for a whole front: its policies against exact optima at weights it never saw."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.align import MODPOConditioned
from pareto.cells import FitContext
from pareto.core.loop import TrainConfig
from pareto.errors import ObjectiveError
from pareto.models.adapters import FullFineTuning, LoRA, load_policy
from pareto.models.conditioned import ConditionedHeadConfig, read_conditioned
from pareto.tasks.lab import Lab

FRONT = [{"helpful": i / 4, "brief": 1 - i / 4} for i in range(5)]


def method(**more: Any) -> MODPOConditioned:
    settings = {
        "beta": 1.0,
        "mass_anchor": 0.1,
        "head": ConditionedHeadConfig(r=16),
        "adapter": FullFineTuning(),
        "training": TrainConfig(steps=300, batch_size=64, lr=3e-3),
    }
    return MODPOConditioned(**{**settings, **more})


def fit(own: MODPOConditioned, lab: Lab, weights: list[Any], reference: Path, root: Path) -> list[Path]:
    """Train the cells of a plan after the reference; their folders, the front's first."""
    cells = own.plan(lab, weights, [0])
    done = {cells[0].id: reference}
    for i, cell in enumerate(cells[1:]):
        needs = {name: done[cell_id] for name, cell_id in cell.needs.items()}
        context = FitContext(root / cell.id, root / f"{cell.id}-scratch", needs)
        context.folder.mkdir(parents=True)
        context.scratch.mkdir()
        fitted = own.train(cell, lab, context)
        assert (fitted.cost.train_tokens > 0) == (i == 0)
        done[cell.id] = context.folder
    return [done[cell.id] for cell in cells[1:]]


@pytest.fixture(scope="module")
def trained(small_lab: Lab, lab_reference: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return fit(method(), small_lab, FRONT, lab_reference, tmp_path_factory.mktemp("conditioned"))


def test_every_weight_vector_comes_close_to_its_optimum(
    small_lab: Lab, lab_reference: Path, trained: list[Path]
):
    facts = [
        small_lab.score(folder, "conditioned", w, "selection", {"reference": lab_reference}).facts
        for folder, w in zip(trained[1:], FRONT)
    ]
    assert min(f["optimality"] for f in facts) > 0.75
    assert np.mean([f["optimality"] for f in facts]) > 0.85
    stored = json.loads((trained[2] / "policy.json").read_text())
    assert stored == {"kind": "conditioned", "weights": FRONT[1], "beta": 1.0}
    assert (trained[1] / "conditioned.safetensors").samefile(trained[0] / "conditioned.safetensors")


@pytest.mark.parametrize("form", [{"margins": "explicit"}, {"inner": "margin"}], ids=str)
def test_other_forms_reach_the_same_optima(
    form: dict[str, str], small_lab: Lab, lab_reference: Path, tmp_path: Path
):
    folder = fit(method(**form), small_lab, [FRONT[2]], lab_reference, tmp_path)[1]
    facts = small_lab.score(folder, "conditioned", FRONT[2], "selection", {"reference": lab_reference}).facts
    assert facts["optimality"] > 0.8


def test_an_adapter_below_the_head(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    own = method(
        adapter=LoRA(r=2, alpha=4),
        head=ConditionedHeadConfig(gate=("linear", "mlp"), r=4),
        training=TrainConfig(steps=10, batch_size=16, lr=1e-2),
    )
    front, folder = fit(own, small_lab, [FRONT[2]], lab_reference, tmp_path)
    assert (folder / "adapter_model.safetensors").exists()
    assert read_conditioned(front).objectives == ("helpful", "brief")
    policy = load_policy(small_lab.load_reference(lab_reference, "cpu", "float32")[0], folder)
    assert hasattr(policy, "peft_config")
    assert (
        small_lab.score(folder, "conditioned", FRONT[2], "selection", {"reference": lab_reference}).facts[
            "kl_nats"
        ]
        > 1e-4
    )


def test_weights_cost_no_training_and_are_in_no_spec(small_lab: Lab):
    own = method()
    cells = own.plan(small_lab, FRONT, [0, 1])
    assert [c.role for c in cells] == ["prerequisite", *(["prerequisite"] + ["policy"] * 5) * 2]
    assert own.plan(small_lab, FRONT[:1], [0])[1].id == cells[1].id
    changed = [method(views=3), method(head=ConditionedHeadConfig(gate=("linear",)))]
    assert len({m.plan(small_lab, FRONT, [0])[-1].id for m in [own, *changed]}) == 3


def test_a_silent_objective_is_an_error(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    pairs = small_lab.load_pairs(lab_reference)
    pairs.labels[:, 1] = np.nan

    class Silent:
        kind = "lab"
        objectives = small_lab.objectives
        prerequisites = staticmethod(small_lab.prerequisites)
        load_reference = staticmethod(small_lab.load_reference)

        @staticmethod
        def load_pairs(folder: Path) -> Any:
            return pairs

    with pytest.raises(ObjectiveError, match="objective 'brief'"):
        fit(method(), Silent(), FRONT, lab_reference, tmp_path)  # type: ignore[arg-type]
