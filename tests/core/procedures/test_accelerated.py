"""Accelerated rounds against their tabular law and against dense weights."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch

from pareto.core.logps import response_logps
from pareto.core.loop import TrainResult
from pareto.core.procedures import rounds
from pareto.core.procedures.accelerated import Accelerated, extrapolated, reached
from pareto.core.procedures.iterative import Iterative
from pareto.core.procedures.weight_space import weight_space
from pareto.errors import UsageError
from pareto.models.adapters import load_policy, save_policy
from tests.core import small
from tests.core.procedures.tabular import (
    BETA,
    CONVERGED,
    PROMPTS,
    REWARDS,
    adapted_layers,
    dense,
    llama_job,
    shaken,
    tabular_job,
    tilt,
)


def law(t, alpha):
    """sum over s = 1..T of (1 - alpha^s) / (1 - alpha)."""
    return sum((1 - alpha**s) / (1 - alpha) for s in range(1, t + 1))


@pytest.mark.parametrize("alpha", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("t", [1, 2, 3, 6])
def test_coefficients_follow_the_rounds_as_they_are_written(t, alpha):
    """hat and pi as vectors of coefficients, moved by the two rules of the algorithm."""
    hat, pi = np.zeros(t), np.zeros(t)
    for s in range(t):
        before, hat = hat, pi + np.eye(t)[s]
        np.testing.assert_allclose(reached(s + 1, alpha), hat[: s + 1], atol=1e-12)
        pi = hat + alpha * (hat - before)
        np.testing.assert_allclose(extrapolated(s + 1, alpha), pi[: s + 1], atol=1e-12)
    assert sum(reached(t, alpha)) == pytest.approx(law(t, alpha))


def exact_round(model, *_, **__):
    """Stands for a loop that finds the optimum of DPO against the model as it begins: its logits plus r / beta."""
    with torch.no_grad():
        model.table[:PROMPTS, PROMPTS:] += torch.from_numpy(REWARDS / BETA).float()
    return TrainResult(1, 0)


@pytest.mark.parametrize(("t", "alpha"), [(1, 0.5), (3, 0.0), (3, 0.3), (5, 0.8)])
def test_the_tabular_law_with_exact_rounds(t, alpha, tmp_path, monkeypatch):
    monkeypatch.setattr(rounds, "train", exact_round)
    job = tabular_job(tmp_path)
    procedure = Accelerated(rounds=t, alpha=alpha, data="same")
    procedure.run(job)
    np.testing.assert_allclose(job.model.log_policy(), tilt(law(t, alpha)), atol=2e-5)
    assert procedure.strength() == pytest.approx(law(t, alpha))


def test_the_tabular_law_with_the_real_loop(tmp_path):
    """Two rounds of DPO on soft labels, alpha .5: log hat / ref = 2.5 r / beta; the same steps without it reach 2 r / beta."""
    fast = tabular_job(tmp_path / "fast")
    Accelerated(rounds=2, alpha=0.5, data="same").run(fast)
    np.testing.assert_allclose(fast.model.log_policy(), tilt(2.5), atol=0.02)
    slow = tabular_job(tmp_path / "slow")
    Iterative(rounds=2, data="same").run(slow)
    np.testing.assert_allclose(slow.model.log_policy(), tilt(2.0), atol=0.02)
    assert Iterative(rounds=2, data="same").strength() == 2.0


def test_one_round_ends_at_the_optimum_of_dpo(tmp_path):
    job = tabular_job(tmp_path, training=CONVERGED.model_copy(update={"steps": 600}))
    Accelerated(rounds=1, data="same").run(job)
    np.testing.assert_allclose(job.model.log_policy(), tilt(1.0), atol=0.02)


def test_no_law_is_claimed_for_parts_of_the_prompts():
    assert Accelerated().strength() is None
    assert Iterative().strength() is None


def test_extrapolated_adapters_are_extrapolated_weights(tmp_path, monkeypatch):
    """The algorithm on dense weights, beside rounds on low-rank factors that are moved at random."""
    alpha, seen = 0.4, []
    move = shaken(torch.Generator().manual_seed(0))

    def watched(model, *args, **more):
        begun = dense(model)
        result = move(model)
        seen.append((begun, dense(model)))
        return result

    monkeypatch.setattr(rounds, "train", watched)
    job = llama_job(tmp_path, "adapter")
    start = dense(job.model)
    Accelerated(rounds=3, alpha=alpha, data="same").run(job)
    hat = pi = start
    for begun, trained in seen:
        for name in start:
            torch.testing.assert_close(begun[name], pi[name], atol=1e-6, rtol=1e-6)
        before, hat = hat, trained
        pi = {n: hat[n] + alpha * (hat[n] - before[n]) for n in start}
    final = dense(job.model)
    for name in start:
        torch.testing.assert_close(final[name], hat[name], atol=1e-6, rtol=1e-6)
        assert (final[name] - start[name]).abs().max() > 0.1
    assert {layer.r["default"] for _, layer in adapted_layers(job.model)} == {6}  # three rounds of rank 2
    assert set(job.model.peft_config) == {"default"}


def test_the_result_is_one_ordinary_adapter(tmp_path):
    job = llama_job(tmp_path / "job", "adapter")
    Accelerated(rounds=2, data="same").run(job)
    folder = tmp_path / "policy"
    assert save_policy(job.model, folder) == "adapter"
    assert {p.name for p in folder.iterdir()} == {"adapter_config.json", "adapter_model.safetensors"}
    loaded = load_policy(small.llama(num_hidden_layers=1), folder)
    want = response_logps(job.model, job.data.table)
    np.testing.assert_allclose(response_logps(loaded, job.data.table), want, atol=1e-5)
    assert np.abs(want - job.reference).max() > 0.05


def test_only_a_plain_adapter_that_changes_nothing_yet_is_taken():
    with pytest.raises(UsageError, match="B = 0"):
        weight_space(small.with_lora(small.llama(num_hidden_layers=1)))
    model = small.with_lora(small.llama(num_hidden_layers=1), warm=False)
    model.base_model.model.lm_head.requires_grad_(True)
    with pytest.raises(UsageError, match=r"plain LoRA.*lm_head"):
        weight_space(model)


def test_an_evaluation_elsewhere_leaves_no_trace():
    for model in (
        small.llama(num_hidden_layers=1),
        small.with_lora(small.llama(num_hidden_layers=1), warm=False),
    ):
        space = weight_space(model)
        move = shaken(torch.Generator().manual_seed(1)) if hasattr(model, "peft_config") else None
        if move:
            move(model)
        else:
            model.lm_head.weight.data += 0.1
        update, state = space.update(), copy.deepcopy(model.state_dict())
        ids = torch.tensor([[1, 5, 7]])
        with torch.no_grad():
            here = model(input_ids=ids).logits
            with space.at([]):
                start = model(input_ids=ids).logits
            with space.at([(0.5, update), (0.5, update)]):
                torch.testing.assert_close(model(input_ids=ids).logits, here, atol=1e-5, rtol=1e-5)
        assert not torch.allclose(start, here, atol=1e-2)
        assert model.state_dict().keys() == state.keys()
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
        trained = {n for n, p in model.named_parameters() if p.requires_grad}
        assert all(".default." in n for n in trained) or not move
