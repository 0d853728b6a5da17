"""The training loop: the same bytes again, also after a kill; it stops where numbers cannot be right."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pareto.core.logps import response_logps, sums
from pareto.core.loop import Hooks, TrainConfig, _costs, train
from pareto.core.objective import Objective
from pareto.core.optimizer import rate
from pareto.core.sampler import Sampler
from pareto.errors import NumericsError
from pareto.state.checkpoint import Checkpoints
from tests.core import small

TABLE = small.table((3, 1, 7, 2), ((1, 4, 2), (6, 1, 1), (3, 9, 5), (2, 2, 8)))
EXAMPLES = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5], [6, 7], [6, 8], [9, 10], [9, 11]])
CONFIG = TrainConfig(steps=6, batch_size=4, accumulation=2, lr=0.01, log_every=1, checkpoint_every=1)
LN2 = math.log(2.0)
MODELS = {
    "full": lambda: small.llama(num_hidden_layers=1),
    "adapter": lambda: small.with_lora(small.llama(num_hidden_layers=1), warm=False, dropout=0.2),
}


class KilledError(Exception):
    """Stands for a process that ends."""


@pytest.fixture(scope="module")
def reference():
    """[n, 2] reference log-probabilities of the examples."""
    model = small.llama(num_hidden_layers=1)
    return torch.from_numpy(sums(TABLE, response_logps(model, TABLE))[EXAMPLES]).float()


def dpo(reference):
    def loss(scored):
        ratio = scored.logps - reference[scored.index]
        gap = ratio[:, 0] - ratio[:, 1]
        return -F.logsigmoid(0.5 * gap), {"gap": gap.detach()}

    return Objective(loss)


def weights(model):
    return {n: p.detach().clone() for n, p in model.named_parameters() if p.requires_grad}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


def run(name, reference, config=CONFIG, **settings):
    model = MODELS[name]()
    return train(model, TABLE, EXAMPLES, dpo(reference), config, **({"seed": 1} | settings)), weights(model)


@pytest.fixture(scope="module", params=list(MODELS))
def uninterrupted(request, reference):
    return request.param, *run(request.param, reference)


def test_the_same_seed_gives_the_same_bytes(uninterrupted, reference):
    name, result, want = uninterrupted
    again, got = run(name, reference)
    assert same(got, want)
    assert again == result
    assert not same(run(name, reference, seed=2)[1], want)


@pytest.mark.parametrize("killed_after", [1, 2, 5])
def test_a_killed_run_ends_where_an_uninterrupted_one_ends(killed_after, uninterrupted, reference, tmp_path):
    name, result, want = uninterrupted
    checkpoints = Checkpoints(tmp_path)

    def kill(figures):
        if figures["step"] == killed_after + 1:
            raise KilledError

    with pytest.raises(KilledError):
        run(name, reference, hooks=Hooks(callbacks=(kill,), checkpoints=checkpoints))
    assert checkpoints.steps()[-1] == killed_after
    torch.manual_seed(99)
    again, got = run(name, reference, hooks=Hooks(checkpoints=checkpoints))
    assert same(got, want)
    assert again == result


def test_figures_span_a_kill_between_two_logged_steps(reference, tmp_path):
    config = CONFIG.model_copy(update={"log_every": 3})
    result, want = run("full", reference, config)
    checkpoints = Checkpoints(tmp_path)

    def kill(figures):
        raise KilledError

    with pytest.raises(KilledError):
        run("full", reference, config, hooks=Hooks(callbacks=(kill,), checkpoints=checkpoints))
    assert checkpoints.steps()[-1] == 2
    rows = []
    again, got = run("full", reference, config, hooks=Hooks(log=rows.append, checkpoints=checkpoints))
    assert same(got, want)
    assert again == result
    assert [row["step"] for row in rows] == [3, 6]
    whole = []
    run("full", reference, config, hooks=Hooks(log=whole.append))
    assert rows == whole


def test_only_what_is_trained_moves(reference):
    model = MODELS["adapter"]()
    frozen = {n: p.detach().clone() for n, p in model.named_parameters() if not p.requires_grad}
    before = weights(model)
    train(model, TABLE, EXAMPLES, dpo(reference), CONFIG, seed=0)
    assert all(torch.equal(p, frozen[n]) for n, p in model.named_parameters() if n in frozen)
    assert not same(weights(model), before)
    assert not model.training


def test_the_loss_falls(reference):
    config = CONFIG.model_copy(update={"steps": 30, "log_every": 5})
    result, _ = run("full", reference, config, first_loss=LN2)
    assert result.figures["loss"] < 0.9 * LN2  # the mean of the last five steps
    assert result.figures["gap"] > 0


def test_accumulation_changes_memory_and_not_the_result(reference):
    one = run("full", reference, CONFIG.model_copy(update={"accumulation": 1, "steps": 2}))[1]
    four = run("full", reference, CONFIG.model_copy(update={"accumulation": 4, "steps": 2}))[1]
    for name in one:
        torch.testing.assert_close(one[name], four[name], atol=2e-4, rtol=0)


def test_a_foreign_reference_is_noticed(reference):
    run("full", reference, CONFIG.model_copy(update={"steps": 1}), first_loss=LN2)
    foreign = reference + torch.tensor([[0.5, -0.5]])
    with pytest.raises(NumericsError, match=r"first loss must be 0\.693147"):
        run("full", foreign, first_loss=LN2)
    with pytest.raises(NumericsError, match="first loss"):
        run("full", foreign, first_loss=LN2, dtype="bfloat16")


def test_half_precision_starts_within_its_own_tolerance():
    """The reference's log-probabilities are computed in the arithmetic of the training."""
    model = small.llama(num_hidden_layers=1)
    half = torch.from_numpy(sums(TABLE, response_logps(model, TABLE, dtype="bfloat16"))[EXAMPLES]).float()
    result, _ = run("full", half, first_loss=LN2, dtype="bfloat16")
    assert all(math.isfinite(v) for v in result.figures.values())


def test_numbers_that_are_none_stop_the_run(reference):
    broken = reference.clone()
    broken[:, 0] = float("nan")
    rows = []
    with pytest.raises(
        NumericsError, match=r"loss or gradient not finite at step 1, with rows \d+, \d+, \d+, \d+ of the"
    ):
        run("full", broken, hooks=Hooks(log=rows.append))
    assert rows == []
    with pytest.raises(NumericsError, match="first loss"):
        run("full", broken, first_loss=LN2)


def test_one_row_that_is_none_is_found_in_its_step_and_before_a_checkpoint(reference, tmp_path):
    """Row 5 alone is broken; the first batch that holds it is named, though nothing is logged before the last step."""
    broken = reference.clone()
    broken[5, 0] = float("inf")
    config = CONFIG.model_copy(update={"steps": 40, "log_every": 40, "checkpoint_every": 20, "batch_size": 2})
    sampler = Sampler(_costs(TABLE, EXAMPLES), 2, seed=1)
    step = next(i for i in range(20) if 5 in sampler.batch(i))
    rows = ", ".join(str(i) for i in sorted(sampler.batch(step)))
    checkpoints = Checkpoints(tmp_path / "checkpoints")
    with pytest.raises(
        NumericsError, match=f"not finite at step {step + 1}, with rows {rows} of the training"
    ):
        run("full", broken, config, hooks=Hooks(checkpoints=checkpoints))
    assert not checkpoints.steps()


def test_callers_hear_of_every_logged_step(reference):
    logged, shown, called = [], [], []
    config = CONFIG.model_copy(update={"steps": 5, "log_every": 2})
    hooks = Hooks(
        progress=lambda done, total, figures: shown.append((done, total, figures["step"])),
        log=logged.append,
        callbacks=(called.append,),
    )
    result, _ = run("full", reference, config, hooks=hooks)
    assert [row["step"] for row in logged] == [2, 4, 5]
    assert shown == [(0, 5, 0), (2, 5, 2), (4, 5, 4), (5, 5, 5)]
    assert called == logged
    assert result.figures == logged[-1]
    assert result.steps == 5
    assert result.tokens == logged[-1]["tokens"] > logged[0]["tokens"] > 0
    assert {"loss", "grad_norm", "lr", "gap"} <= logged[0].keys()


def test_logged_figures_are_means_over_the_examples_since_the_last_row(reference):
    single, pairs = [], []
    run("full", reference, CONFIG.model_copy(update={"steps": 2}), hooks=Hooks(log=single.append))
    both = CONFIG.model_copy(update={"steps": 2, "log_every": 2})
    run("full", reference, both, hooks=Hooks(log=pairs.append))
    for name in ("loss", "grad_norm", "gap"):
        assert pairs[0][name] == pytest.approx((single[0][name] + single[1][name]) / 2, rel=1e-5)


def test_steps_follow_from_epochs(reference):
    config = TrainConfig(epochs=1.5, batch_size=4, log_every=1)  # 10 examples: 2 full batches an epoch
    assert run("full", reference, config)[0].steps == 3


def schedule(total, **settings):
    config = TrainConfig(**settings)
    return [rate(step, total, config) for step in range(total)]


def test_schedules_by_hand():
    half = math.sqrt(0.5)
    assert schedule(4, warmup=0.0, schedule="constant") == [1.0] * 4
    assert schedule(4, warmup=0.0, schedule="linear") == pytest.approx([1.0, 0.75, 0.5, 0.25])
    assert schedule(4, warmup=0.0) == pytest.approx([1.0, (1 + half) / 2, 0.5, (1 - half) / 2])
    assert schedule(8, warmup=0.5, schedule="linear") == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1.0, 0.75, 0.5, 0.25]
    )
    assert schedule(4, warmup=0.0, schedule="linear", final_lr=0.2) == pytest.approx([1.0, 0.8, 0.6, 0.4])
    assert schedule(1, warmup=0.0) == [1.0]


def test_the_rate_reaches_the_optimiser(reference):
    rows = []
    config = CONFIG.model_copy(update={"steps": 4, "warmup": 0.0, "schedule": "linear"})
    run("full", reference, config, hooks=Hooks(log=rows.append))
    assert [row["lr"] for row in rows] == pytest.approx([0.01, 0.0075, 0.005, 0.0025])


@pytest.mark.parametrize("name", list(MODELS))
def test_gradient_checkpointing_changes_memory_and_nothing_else(name, reference):
    """The same numbers again, with dropout too, from layers that run twice; and the model is as it was afterwards."""
    result, want = run(name, reference)
    model = MODELS[name]()
    seen, layers = [], []
    (layer,) = (m for m in model.modules() if type(m).__name__ == "LlamaMLP")
    layer.register_forward_pre_hook(lambda *_: layers.append(model.training))

    def look(figures):
        seen.append((model.is_gradient_checkpointing, model.training))

    config = CONFIG.model_copy(update={"gradient_checkpointing": True})
    again = train(model, TABLE, EXAMPLES, dpo(reference), config, seed=1, hooks=Hooks(callbacks=(look,)))
    assert seen == [(True, True)] * 6
    assert layers.count(True) == 2 * 2 * 6  # twice in each of two micro-batches of six steps
    assert not model.is_gradient_checkpointing
    assert again == result
    assert same(weights(model), want)


def test_gradient_checkpointing_is_off_again_after_a_fault(reference):
    def stop(figures):
        raise KilledError

    model = MODELS["full"]()
    config = CONFIG.model_copy(update={"gradient_checkpointing": True})
    with pytest.raises(KilledError):
        train(model, TABLE, EXAMPLES, dpo(reference), config, seed=1, hooks=Hooks(callbacks=(stop,)))
    assert not model.is_gradient_checkpointing
    assert not model.training


def test_compiling_changes_speed_and_not_the_result(reference, monkeypatch):
    """With the tracer's own backend: what a real one makes of the graph is torch's affair."""
    _, want = run("full", reference, CONFIG.model_copy(update={"steps": 2}))
    model, bodies = MODELS["full"](), []
    compiled = type(model.base_model).compile

    def traced(self, **settings):
        bodies.append(type(self).__name__)
        compiled(self, backend="eager", **settings)

    monkeypatch.setattr(type(model.base_model), "compile", traced)
    config = CONFIG.model_copy(update={"steps": 2, "compile": True})
    train(model, TABLE, EXAMPLES, dpo(reference), config, seed=1)
    assert bodies == ["LlamaModel"]
    assert model.base_model._compiled_call_impl is None
    for name, value in weights(model).items():
        torch.testing.assert_close(value, want[name], atol=1e-5, rtol=0)
