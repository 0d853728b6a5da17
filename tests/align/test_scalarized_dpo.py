"""Scalarised DPO: its labels by hand, its losses against sums over labels, its policies against exact optima."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pareto.align import ScalarizedDPO
from pareto.align.modpo import MODPO
from pareto.align.scalarized_dpo import expected_over_labels, reward_score, vote_score
from pareto.cells import Cell, FitContext, Fitted
from pareto.core.loop import TrainConfig
from pareto.core.objective import ScoredExamples
from pareto.core.preference_loss import LossConfig, LossTerm, preference_objective
from pareto.core.procedures.accelerated import Accelerated
from pareto.core.procedures.curry import Curry
from pareto.core.procedures.iterative import Iterative
from pareto.data.pairs import PreferencePairs, Ragged, ResponseTable
from pareto.errors import ConfigError, ObjectiveError
from pareto.models.adapters import FullFineTuning, LoRA
from pareto.objectives import Objectives
from pareto.study.config import json_schema, load_study
from pareto.tasks.lab import Lab, language

TRAINING = TrainConfig(steps=400, batch_size=64, lr=3e-3)
HALF = {"helpful": 0.5, "brief": 0.5}
LOSS = [{"name": "dpo", "beta": 1.0}, {"name": "mass_anchor", "weight": 0.1}]
NAN = float("nan")


def method(**more: Any) -> ScalarizedDPO:
    return ScalarizedDPO(**{"loss": LOSS, "adapter": FullFineTuning(), "training": TRAINING, **more})


def quick(**more: Any) -> ScalarizedDPO:
    return method(training=TrainConfig(steps=6, batch_size=16, lr=1e-3), **more)


def fit(
    own: Any, task: Any, weights: Mapping[str, float], reference: Path, root: Path
) -> tuple[Cell, Path, Fitted]:
    """Train the last cell of the plan, which needs nothing but the reference."""
    cell = own.plan(task, [weights], [0])[-1]
    context = FitContext(root / cell.id, root / f"{cell.id}-scratch", {"reference": reference})
    context.folder.mkdir(parents=True)
    context.scratch.mkdir()
    return cell, context.folder, own.train(cell, task, context)


def facts(lab: Lab, folder: Path, weights: Mapping[str, float], reference: Path) -> Mapping[str, Any]:
    return lab.score(folder, "model", weights, "selection", {"reference": reference}).facts


# ---------------------------------------------------------------------------------------------- labels


def pairs_of(labels: list[list[float]], weight: list[float] | None = None) -> PreferencePairs:
    """One prompt a pair, responses 2i and 2i + 1."""
    n = len(labels)
    table = ResponseTable(Ragged.of([[1]] * n), Ragged.of([[2, 3]] * (2 * n)), np.repeat(np.arange(n), 2))
    names = Objectives([f"o{j}" for j in range(len(labels[0]))])
    return PreferencePairs(
        names,
        table,
        2 * np.arange(n),
        2 * np.arange(n) + 1,
        np.array(labels, dtype=np.float32),
        weight=None if weight is None else np.array(weight, dtype=np.float32),
    )


# votes at weights .5, .3, .2: all for a; .5 - .5; b by .5 + .2 - .3; tie of the first leaves .3 against .2; nobody; one known
LABELS = [[1, 1, 1], [1, -1, -1], [-1, 1, -1], [0, 1, -1], [0, NAN, 0], [NAN, NAN, -1]]
W = np.array([0.5, 0.3, 0.2])


def test_votes_by_hand():
    want = [1.0, 0.0, -0.4, (0.3 - 0.2) / 0.5, NAN, -1.0]
    np.testing.assert_allclose(vote_score(np.array(LABELS), W), want, atol=1e-12)
    np.testing.assert_allclose(vote_score(np.array(LABELS), np.array([1.0, 0, 0])), [1, 1, -1, NAN, NAN, NAN])


def test_hard_and_soft_votes_by_hand():
    pairs = pairs_of(LABELS, weight=[1, 2, 3, 4, 5, 6])
    hard = method(labels="hard").label(pairs, W, lambda: pytest.fail("no rewards asked for"))
    assert hard.examples.tolist() == [
        [0, 1],
        [5, 4],
        [6, 7],
        [11, 10],
    ]  # the draw and the silent pair are left out
    assert hard.target is None
    assert hard.gap is not None
    np.testing.assert_allclose(hard.gap, [1.0, 0.4, 0.2, 1.0])
    assert hard.weight is not None
    assert hard.weight.tolist() == [1, 3, 4, 6]
    soft = method().label(pairs, W, lambda: pytest.fail("no rewards asked for"))
    assert soft.examples.tolist() == [[0, 1], [2, 3], [5, 4], [6, 7], [11, 10]]
    assert soft.target is not None
    np.testing.assert_allclose(soft.target, [1.0, 0.5, 0.7, 0.6, 1.0])


def test_rewards_by_hand():
    pairs = pairs_of([[NAN, NAN]] * 3)
    rewards = np.array([[1.0, 4.0], [3.0, 0.0], [2.0, 2.0], [1.0, NAN], [5.0, 1.0], [5.0, 1.0]])
    w = np.array([0.75, 0.25])
    np.testing.assert_allclose(reward_score(rewards, pairs, w), [0.75 * -2 + 0.25 * 4, NAN, 0.0])
    np.testing.assert_allclose(reward_score(rewards, pairs, np.array([1.0, 0.0])), [-2, 1, 0])
    soft = method(scalarize="rewards").label(pairs, np.array([1.0, 0.0]), lambda: rewards)
    assert soft.examples.tolist() == [[1, 0], [2, 3], [4, 5]]
    assert soft.target is not None
    np.testing.assert_allclose(soft.target, 1 / (1 + np.exp([-2.0, -1.0, 0.0])))
    hard = method(scalarize="rewards", labels="hard").label(pairs, w, lambda: rewards)
    assert hard.target is None
    assert hard.examples.tolist() == [[1, 0]]  # by 0.5


def test_no_label_at_all_is_said():
    with pytest.raises(ObjectiveError, match="of 2 pairs, 1 have no known labels and the rest are draws"):
        method(labels="hard").label(pairs_of([[1, -1], [NAN, 0]]), np.array([0.5, 0.5]), lambda: np.zeros(0))


def test_at_a_corner_the_pairs_are_those_of_the_objective(small_lab: Lab, lab_reference: Path):
    pairs = small_lab.load_pairs(lab_reference)
    for labels in ("soft", "hard"):
        data = method(labels=labels).label(pairs, np.array([0.0, 1.0]), lambda: np.zeros(0))
        _, chosen, rejected = pairs.decided("brief")
        assert (data.examples == np.column_stack([chosen, rejected])).all()
        assert data.target is None


# ---------------------------------------------------------------------------------------------- losses


def scored_pairs(table: ResponseTable, examples: np.ndarray, draw: np.random.Generator) -> ScoredExamples:
    """A random policy on all examples, laid out as the loop lays them out."""
    lengths = table.responses.lengths[examples]
    response = np.repeat(np.arange(examples.size), lengths.ravel())
    tokens = torch.from_numpy(-draw.random(len(response))).float()
    sums = torch.zeros(examples.size).index_add(0, torch.from_numpy(response), tokens)
    return ScoredExamples(
        tokens,
        torch.from_numpy(response),
        sums.view(len(examples), 2),
        torch.from_numpy(lengths).float(),
        torch.arange(len(examples)),
    )


@pytest.mark.parametrize("config", [{}, {"ld_alpha": 0.3}, {"average": True}], ids=str)
@pytest.mark.parametrize("name", ["dpo", "simpo", "orpo", "ipo", "sft"])
def test_soft_labels_are_the_expectation_over_hard_ones(name: str, config: dict[str, Any]):
    """Half the mass on each order of a pair, against the two losses asked one by one on examples laid out for each."""
    draw = np.random.default_rng(0)
    lengths = [3, 1, 2, 6, 4, 4]
    table = ResponseTable(
        Ragged.of([[1]] * 3), Ragged.of([[2] * n for n in lengths]), np.repeat(np.arange(3), 2)
    )
    examples = np.arange(6).reshape(3, 2)
    reference = -draw.random(sum(lengths)).astype(np.float32)
    losses = LossConfig(terms=(LossTerm(name=name),), **config)
    own, other = (
        preference_objective(losses, table, e, reference)[0] for e in (examples, examples[:, ::-1].copy())
    )
    scored = scored_pairs(table, examples, draw)
    by_response = [scored.token_logps[scored.token_response == r] for r in (1, 0, 3, 2, 5, 4)]
    turned = ScoredExamples(
        torch.cat(by_response),
        torch.repeat_interleave(torch.arange(6), torch.tensor([len(t) for t in by_response])),
        scored.logps[:, [1, 0]],
        scored.lengths[:, [1, 0]],
        scored.index,
    )
    t = torch.tensor([1.0, 0.3, 0.5])
    want = t * own.loss(scored)[0] + (1 - t) * other.loss(turned)[0]
    torch.testing.assert_close(expected_over_labels(own, other, t).loss(scored)[0], want)
    assert not torch.allclose(own.loss(scored)[0], other.loss(turned)[0])


def test_soft_votes_are_loss_weighted_dpo():
    """sum_j w_j -log sigmoid(label_j * beta * gap), with every label decided."""
    draw = np.random.default_rng(1)
    labels = np.where(draw.random((40, 3)) < 0.5, 1.0, -1.0)
    pairs = pairs_of(labels.tolist())
    data = ScalarizedDPO(loss=[{"name": "dpo", "beta": 0.7}]).label(pairs, W, lambda: np.zeros(0))
    assert data.target is not None
    reference = -draw.random(len(pairs.table.responses.flat)).astype(np.float32)
    config = LossConfig(terms=(LossTerm(name="dpo", hyper={"beta": 0.7}),))
    own, other = (
        preference_objective(config, data.table, e, reference)[0]
        for e in (data.examples, data.examples[:, ::-1].copy())
    )
    scored = scored_pairs(data.table, data.examples, draw)
    got = expected_over_labels(own, other, torch.from_numpy(data.target).float()).loss(scored)[0]
    of = reference.reshape(-1, 2).sum(1)  # every response has two tokens
    gap = (scored.logps[:, 0] - scored.logps[:, 1]).numpy() - (
        of[data.examples[:, 0]] - of[data.examples[:, 1]]
    )
    gap = np.where(data.examples[:, 0] % 2 == 0, gap, -gap)  # of a over b
    want = (W * np.log1p(np.exp(-labels * 0.7 * gap[:, None]))).sum(1)
    np.testing.assert_allclose(got, want, atol=1e-6)


def test_learned_and_coupled_losses_have_no_soft_labels(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    with pytest.raises(ValueError, match=r"'aot' looks across pairs.*labels: hard"):
        method(loss=[{"name": "aot"}])
    own = quick(loss=[{"name": "power_dl"}])
    with pytest.raises(ConfigError, match="learned loss has no soft labels"):
        fit(own, small_lab, HALF, lab_reference, tmp_path)
    _, folder, _ = fit(
        quick(loss=[{"name": "aot"}], labels="hard"), small_lab, HALF, lab_reference, tmp_path / "a"
    )
    assert (folder / "model.safetensors").exists()
    _, folder, _ = fit(
        quick(loss=[{"name": "power_dl"}], labels="hard"), small_lab, HALF, lab_reference, tmp_path / "b"
    )
    assert (folder / "model.safetensors").exists()


# ---------------------------------------------------------------------------------------------- policies


def test_soft_rewards_reach_the_exact_optimum(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    _, folder, fitted = fit(method(scalarize="rewards"), small_lab, HALF, lab_reference, tmp_path)
    found = facts(small_lab, folder, HALF, lab_reference)
    assert found["optimality"] > 0.95
    assert found["kl_nats"] > 0.2
    assert fitted.cost.train_tokens > 0
    assert json.loads((folder / "policy.json").read_text()) == {"kind": "model", "weights": HALF, "beta": 1.0}


def test_a_corner_is_modpos(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    corner = {"helpful": 0.0, "brief": 1.0}
    short = TrainConfig(steps=60, batch_size=64, lr=1e-3)
    theirs = MODPO(beta=1.0, mass_anchor=0.1, adapter=FullFineTuning(), training=short)
    _, a, _ = fit(method(training=short), small_lab, corner, lab_reference, tmp_path / "a")
    _, b, _ = fit(theirs, small_lab, corner, lab_reference, tmp_path / "b")
    prompts, needs = small_lab.world.split("heldout"), {"reference": lab_reference}
    one, other = (small_lab._enumerate_policy(folder, prompts, needs)[0] for folder in (a, b))
    np.testing.assert_allclose(one, other, atol=1e-3)
    start = small_lab._ref_logps(needs)[prompts]
    assert np.abs(one - start).max() > 0.1


@pytest.mark.parametrize(
    ("procedure", "beta"),
    [
        (
            {"kind": "iterative", "rounds": 2, "data": "same"},
            2.0,
        ),  # two rounds at beta 2 end where one at 1 ends
        ({"kind": "iterative", "rounds": 2, "data": "fresh"}, 2.0),
        ({"kind": "accelerated", "rounds": 2, "alpha": 0.5, "data": "same"}, 2.5),  # 1 + 1.5
    ],
    ids=str,
)
def test_rounds_reach_the_optimum_of_their_law(
    procedure: dict[str, Any], beta: float, small_lab: Lab, lab_reference: Path, tmp_path: Path
):
    loss = [{"name": "dpo", "beta": beta}, {"name": "mass_anchor", "weight": 0.1}]
    if procedure["data"] == "fresh":
        loss = loss[:1]
    own = method(
        scalarize="rewards",
        loss=loss,
        procedure=procedure,
        training=TRAINING.model_copy(update={"steps": 500}),
    )
    assert own.beta == pytest.approx(1.0)
    _, folder, fitted = fit(own, small_lab, HALF, lab_reference, tmp_path)
    assert facts(small_lab, folder, HALF, lab_reference)["optimality"] > 0.85
    assert (fitted.cost.generated_tokens > 0) == (procedure["data"] == "fresh")


@pytest.mark.parametrize(
    "procedure",
    [
        Curry(),
        Curry(reference="start", within="prompt"),
        Iterative(),
        Accelerated(),
        {"kind": "tr_dpo", "every": 2},
    ],
)
def test_every_procedure_runs_on_adapters_and_claims_no_beta_it_does_not_know(
    procedure: Any, small_lab: Lab, lab_reference: Path, tmp_path: Path
):
    own = quick(scalarize="rewards", procedure=procedure, adapter=LoRA(r=2, alpha=4))
    _, folder, fitted = fit(own, small_lab, HALF, lab_reference, tmp_path)
    assert own.beta is None
    assert json.loads((folder / "policy.json").read_text())["beta"] is None
    assert "optimality" not in facts(small_lab, folder, HALF, lab_reference)
    assert fitted.policies[0].kind == "adapter"
    rank = json.loads((folder / "adapter_config.json").read_text())["r"]
    assert rank == (6 if isinstance(procedure, Accelerated) else 2)


def test_a_killed_cell_goes_on_in_its_scratch(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    own = quick(scalarize="rewards", procedure=Curry())
    _, whole, _ = fit(own, small_lab, HALF, lab_reference, tmp_path / "whole")
    cell = own.plan(small_lab, [HALF], [0])[-1]

    def stop(figures: Mapping[str, float]) -> None:
        if figures["round"] == 1:
            raise KeyboardInterrupt

    scratch = tmp_path / "scratch"
    for attempt, log in enumerate((stop, lambda figures: None)):
        context = FitContext(tmp_path / str(attempt), scratch, {"reference": lab_reference}, log=log)
        context.folder.mkdir()
        scratch.mkdir(exist_ok=True)
        if attempt == 0:
            with pytest.raises(KeyboardInterrupt):
                own.train(cell, small_lab, context)
        else:
            own.train(cell, small_lab, context)
            assert (context.folder / "model.safetensors").read_bytes() == (
                whole / "model.safetensors"
            ).read_bytes()


def test_objects_in_memory_in_policies_out(small_lab: Lab, lab_reference: Path, tmp_path: Path):
    """A text task: graded votes order the curriculum, weights of rows reach the loss."""
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    draw, rows = np.random.default_rng(0), []
    for i in range(120):
        words = language.response_text(small_lab.world.responses[draw.integers(27)]).split()
        prompt = language.prompt_text(small_lab.world.prompts[i % 20])
        a, b = " ".join(words), " ".join(words[:-2])
        votes = {"brief": -1, "full": 1, "polite": int(draw.integers(-1, 2)) or None}
        rows.append(
            {"prompt": prompt, "response_a": a, "response_b": b, "preferences": votes, "weight": 1 + i % 2}
        )
    own = ScalarizedDPO(
        loss=[{"name": "simpo"}, {"name": "sft", "weight": 0.1}],
        procedure=Curry(stages=2),
        training=TrainConfig(steps=4, batch_size=8, log_every=1),
        adapter=LoRA(r=2, alpha=4),
    )
    weights = [{"brief": 0.5, "full": 0.3, "polite": 0.2}]
    seen: list[Mapping[str, float]] = []
    run = own.fit(model, tokenizer, rows, weights=weights, out=tmp_path / "run", callbacks=[seen.append])
    assert run.weights.tolist() == [[0.5, 0.3, 0.2]]
    assert [record.kind for record in run] == ["adapter"]
    assert {"loss/simpo", "loss/sft", "ranking_accuracy", "round"} <= set(seen[-1])


# ---------------------------------------------------------------------------------------------- plan and config


def test_one_cell_per_weight_and_seed(small_lab: Lab):
    weights = [HALF, {"helpful": 1.0, "brief": 0.0}]
    cells = method().plan(small_lab, weights, [0, 1])
    assert [c.role for c in cells] == ["prerequisite", *["policy"] * 4]
    assert len({c.id for c in cells}) == 5
    changed = [
        method(labels="hard"),
        method(scalarize="rewards"),
        method(loss=[{"name": "dpo", "beta": 0.5}]),
        method(procedure={"kind": "tr_dpo"}),
        method(procedure={"kind": "tr_dpo", "every": 3}),
        method(adapter=LoRA()),
    ]
    assert len({m.plan(small_lab, [HALF], [0])[-1].id for m in changed}) == 6


def test_a_config_names_losses_in_one_line():
    study = load_study(
        {
            "study": "s",
            "task": {"kind": "lab"},
            "method": {
                "name": "scalarized_dpo",
                "loss": [{"name": "dpo", "beta": 0.3}, {"name": "sft", "weight": 0.1}],
                "procedure": {"kind": "curry", "stages": 2},
            },
        }
    )
    own: Any = study.method
    assert own.loss.terms == (LossTerm(name="dpo", hyper={"beta": 0.3}), LossTerm(name="sft", weight=0.1))
    assert own.procedure == Curry(stages=2)
    assert load_study(study.to_json()) == study
    assert "scalarized_dpo" in json.dumps(json_schema())
    assert method(loss={"terms": [{"name": "dpo"}], "ld_alpha": 0.5}).loss.ld_alpha == 0.5


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"loss": [{"name": "dop"}]}, "unknown loss 'dop'.*'dpo'"),
        ({"loss": [{"name": "dpo", "beat": 1}]}, "has no hyper-parameter"),
        ({"loss": [{"name": "kto"}]}, "no loss of pairs"),
        ({"procedure": {"kind": "cury"}}, "unknown procedure 'cury'.*'curry'"),
        ({"procedure": {"kind": "curry", "stages": 0}}, "curry.stages: .*greater than or equal to 1; got 0"),
        ({"scalarize": "reward"}, "scalarize: expected 'labels' or 'rewards'"),
    ],
)
def test_wrong_settings_are_named(settings: dict[str, Any], message: str):
    with pytest.raises(ConfigError, match=message):
        load_study({"study": "s", "task": {"kind": "lab"}, "method": {"name": "scalarized_dpo", **settings}})
