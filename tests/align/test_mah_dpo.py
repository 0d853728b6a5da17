"""MAH-DPO as a method: its sampling by hand, its heads and their mixtures against exact optima."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.align import MAHDPO
from pareto.align.mah_dpo import own_examples, share_files
from pareto.cells import FitContext
from pareto.core.loop import TrainConfig
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.errors import ObjectiveError
from pareto.models.adapters import FullFineTuning, LoRA, load_policy
from pareto.models.heads import FullHeads, LowRankHeads
from pareto.models.mixed_heads import mix_heads
from pareto.objectives import Objectives
from pareto.tasks.lab import Lab, exact

TRAINING = TrainConfig(steps=300, batch_size=128, lr=3e-3)
NAN = float("nan")
ELEVEN = [{"helpful": i / 10, "brief": 1 - i / 10} for i in range(11)]


def method(**more: Any) -> MAHDPO:
    settings = {"beta": 1.0, "mass_anchor": 0.1, "adapter": FullFineTuning(), "training": TRAINING}
    return MAHDPO(**{**settings, **more})


def fit(own: MAHDPO, lab: Lab, weights: list[dict[str, float]], reference: Path, root: Path) -> list[Path]:
    """Train all cells of a plan after the reference; their folders, the heads' first."""
    cells = own.plan(lab, weights, [0])
    done = {cells[0].id: reference}
    for i, cell in enumerate(cells[1:]):
        needs = {name: done[cell_id] for name, cell_id in cell.needs.items()}
        context = FitContext(root / cell.id, root / f"{cell.id}-scratch", needs)
        context.folder.mkdir(parents=True)
        context.scratch.mkdir()
        fitted = own.train(cell, lab, context)
        assert (fitted.cost.train_tokens > 0) == (i == 0)  # only the heads are trained
        assert [p.id for p in fitted.policies] == ([cell.id] if i else [])
        done[cell.id] = context.folder
    return [done[cell.id] for cell in cells[1:]]


@pytest.fixture(scope="module")
def trained(small_lab: Lab, lab_reference: Path, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    return fit(method(), small_lab, ELEVEN, lab_reference, tmp_path_factory.mktemp("mah"))


# ---------------------------------------------------------------------------------------------- sampling


def pairs_of(labels: list[list[float]]) -> PreferencePairs:
    """One prompt a pair, responses 2i and 2i + 1."""
    n = len(labels)
    table = ResponseTable(Ragged.of([[1]] * n), Ragged.of([[2, 3]] * (2 * n)), np.repeat(np.arange(n), 2))
    names = Objectives([f"o{j}" for j in range(len(labels[0]))])
    return PreferencePairs(
        names, table, 2 * np.arange(n), 2 * np.arange(n) + 1, np.array(labels, dtype=np.float32)
    )


def test_examples_by_hand():
    """o0 has five winners, o1 two, so that o1's come twice and one of them a third time."""
    pairs = pairs_of([[1, NAN], [-1, 0], [1, 1], [-1, -1], [1, NAN], [0, NAN]])
    examples, owner = own_examples(pairs, seed=0)
    assert owner.tolist() == [0] * 5 + [1] * 5
    assert examples[:5].tolist() == [[0, 1], [3, 2], [4, 5], [7, 6], [8, 9]]
    found = [tuple(e) for e in examples[5:].tolist()]
    assert sorted(found.count(e) for e in ((4, 5), (7, 6))) == [2, 3]
    assert len({own_examples(pairs, seed=s)[0].tobytes() for s in range(20)}) == 2
    with pytest.raises(ObjectiveError, match="winner under objective 'o1'"):
        own_examples(pairs_of([[1, NAN], [1, 0]]), seed=0)


# ---------------------------------------------------------------------------------------------- policies


def enumerated(lab: Lab, folder: Path, reference: Path) -> np.ndarray:
    return lab._enumerate_policy(folder, lab.world.split("selection"), {"reference": reference})[0]


def test_corners_and_mixtures_come_close_to_their_optima(
    small_lab: Lab, lab_reference: Path, trained: list[Path]
):
    found = [
        small_lab.score(f, "heads", w, "selection", {"reference": lab_reference}).facts
        for f, w in zip(trained[1:], ELEVEN)
    ]
    assert min(found[0]["optimality"], found[-1]["optimality"]) > 0.8
    assert np.mean([f["optimality"] for f in found]) > 0.8
    assert min(f["kl_nats"] for f in found) > 0.1


def test_steering_is_monotone_by_exact_values(small_lab: Lab, lab_reference: Path, trained: list[Path]):
    rewards = small_lab.world.rewards()[:, small_lab.world.split("selection")]
    values = np.array(
        [exact.values(enumerated(small_lab, f, lab_reference), rewards).mean(0) for f in trained[1:]]
    )
    for column, sign in ((values[:, 0], 1), (values[:, 1], -1)):  # the weight on helpful rises
        steps = [np.sign(b - a) * sign for a, b in combinations(column, 2)]
        assert np.mean(steps) >= 0.95  # Kendall's tau
        assert np.ptp(column) > 0.1


def test_a_mixture_is_the_product_of_the_heads_token_by_token(
    small_lab: Lab, lab_reference: Path, trained: list[Path]
):
    """Conditional probabilities from enumerated corners, mixed and normalised at every slot, against the stored policy."""
    shape = (small_lab.choices,) * small_lab.slots
    corners = [enumerated(small_lab, trained[i], lab_reference) for i in (-1, 1)]  # helpful, brief
    total = np.zeros((len(corners[0]), *shape))
    for s in range(small_lab.slots):
        mixed: Any = 0.0
        for weight, logps in zip((0.3, 0.7), corners):
            tree = logps.reshape(-1, *shape)
            upto = np.logaddexp.reduce(tree.reshape(*tree.shape[: s + 2], -1), axis=-1)  # first s + 1 phrases
            mixed = mixed + weight * (upto - np.logaddexp.reduce(upto, axis=-1, keepdims=True))
        mixed = mixed - np.logaddexp.reduce(mixed, axis=-1, keepdims=True)
        total = total + mixed.reshape(*mixed.shape, *[1] * (small_lab.slots - s - 1))
    got = enumerated(small_lab, trained[1 + 3], lab_reference)
    # Mass outside the enumerated replies is not part of the product here; there is little of it.
    assert np.abs(np.exp(got) - np.exp(total.reshape(got.shape))).max() < 0.01
    assert exact.kl(got, total.reshape(got.shape)).mean() < 1e-3


def test_policies_share_what_was_trained(trained: list[Path]):
    heads, first = trained[0], trained[1]
    names = {p.name for p in heads.iterdir()}
    assert {"heads.json", "heads.safetensors", "model.safetensors"} <= names
    for name in names:
        assert (first / name).read_bytes() == (heads / name).read_bytes()
        assert (first / name).samefile(heads / name)
    assert json.loads((trained[4] / "policy.json").read_text()) == {
        "kind": "heads",
        "weights": ELEVEN[3],
        "beta": 1.0,
    }


def test_where_files_cannot_be_linked_they_are_copied(
    trained: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def refuse(source: Any, target: Any) -> None:
        raise OSError("no links here")

    monkeypatch.setattr("os.link", refuse)
    share_files(trained[0], tmp_path)
    for path in trained[0].iterdir():
        assert (tmp_path / path.name).read_bytes() == path.read_bytes()
        assert not (tmp_path / path.name).samefile(path)


@pytest.mark.parametrize("heads", [FullHeads(), LowRankHeads(r=2)], ids=lambda h: h.kind)
def test_every_form_trains_on_adapters(heads: Any, small_lab: Lab, lab_reference: Path, tmp_path: Path):
    own = method(
        heads=heads,
        adapter=LoRA(r=2, alpha=4),
        training=TrainConfig(steps=8, batch_size=16, lr=1e-3),
    )
    half = {"helpful": 0.5, "brief": 0.5}
    folder = fit(own, small_lab, [half], lab_reference, tmp_path)[1]
    assert (folder / "adapter_model.safetensors").exists()
    policy = load_policy(small_lab.load_reference(lab_reference, "cpu", "float32")[0], folder)
    assert hasattr(policy, "peft_config")
    assert mix_heads(policy, folder, [1.0, 0.0]) is policy
    facts = small_lab.score(folder, "heads", half, "heldout", {"reference": lab_reference}).facts
    assert facts["kl_heldout_nats"] > 0


def test_the_loss_is_the_weighted_sum_of_the_objectives_means(
    small_lab: Lab, lab_reference: Path, tmp_path: Path
):
    """Before the first step every pair has ln 2: 3 ln 2 + 1 ln 2, but for which objectives a batch happens to hold."""
    own = method(
        mass_anchor=0.0,
        training=TrainConfig(steps=1, batch_size=1600, lr=1e-3),
        loss_weights={"helpful": 3.0, "brief": 1.0},
    )
    cell = own.plan(small_lab, [], [0])[1]
    seen: list[Any] = []
    context = FitContext(tmp_path, tmp_path / "scratch", {"reference": lab_reference}, log=seen.append)
    own.train(cell, small_lab, context)
    # factors 6 and 2, half each: mean 4, standard deviation 2 / sqrt(1600) = 0.05
    assert seen[-1]["loss"] / np.log(2.0) == pytest.approx(4.0, abs=0.2)


# ---------------------------------------------------------------------------------------------- plan


def test_weights_cost_no_training(small_lab: Lab):
    own = method()
    cells = own.plan(small_lab, ELEVEN, [0, 1])
    assert [c.role for c in cells] == ["prerequisite", *(["prerequisite"] + ["policy"] * 11) * 2]
    assert len({c.id for c in cells}) == len(cells)
    heads = {c.seed: c.id for c in cells[1:] if c.weights is None}
    assert all(c.needs["heads"] == heads[c.seed] for c in cells if c.weights is not None)
    assert own.plan(small_lab, ELEVEN[:1], [0])[1].id == heads[0]  # other weights, the same heads
    changed = [method(beta=0.5), method(heads=FullHeads()), method(loss_weights={"helpful": 1, "brief": 1})]
    assert len({m.plan(small_lab, ELEVEN[:1], [0])[-1].id for m in [own, *changed]}) == 4


def test_loss_weights_name_the_objectives(small_lab: Lab):
    assert method().lambdas(small_lab.objectives).tolist() == [0.5, 0.5]
    assert method(loss_weights={"brief": 2, "helpful": 1}).lambdas(small_lab.objectives).tolist() == [1, 2]
    with pytest.raises(ObjectiveError, match="brief"):
        method(loss_weights={"helpful": 1}).plan(small_lab, ELEVEN, [0])
