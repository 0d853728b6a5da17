"""TR-DPO against an optimiser written out beside it, and where its limits are known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from pareto.core.logps import response_logps, sums
from pareto.core.loop import Hooks, TrainConfig
from pareto.core.objective import Objective
from pareto.core.procedures.tr_dpo import TRDPO, MovingReference, after_every_step
from pareto.core.procedures.weight_space import weight_space
from pareto.errors import UsageError
from tests.core.procedures.tabular import (
    BETA,
    PROMPTS,
    Tabular,
    dense,
    dpo_maker,
    llama_job,
    shaken,
    tabular_job,
)

STEPS = TrainConfig(
    steps=12, batch_size=10**6, lr=0.03, clip=100.0, warmup=0.0, schedule="constant", log_every=1
)


def test_a_reference_that_follows_every_step_keeps_the_loss_at_ln_2(tmp_path):
    losses = []
    job = tabular_job(tmp_path, training=STEPS, hooks=Hooks(log=lambda f: losses.append(f["loss"])))
    TRDPO(alpha=1.0, every=1).run(job)
    assert losses == pytest.approx([math.log(2)] * 12, abs=1e-6)


@pytest.mark.parametrize(("alpha", "every"), [(1.0, 1), (1.0, 5), (0.6, 1), (0.6, 4), (0.25, 3), (0.6, 100)])
def test_it_is_what_the_paper_writes(alpha, every, tmp_path):
    """AdamW on all pairs with a second table of logits that is averaged by hand."""
    job = tabular_job(tmp_path, training=STEPS)
    data = job.data
    own = Tabular()
    reference = own.table.detach().clone()
    optimizer = torch.optim.AdamW([own.table], lr=0.03, weight_decay=0.0)
    target = torch.from_numpy(data.target).float()
    prompt = torch.from_numpy(data.prompt)
    chosen, rejected = (
        torch.from_numpy(data.table.responses.flat[data.examples[:, k]]).long() for k in (0, 1)
    )
    for step in range(1, 13):
        logps, ref = own.table.log_softmax(-1), reference.log_softmax(-1)
        ratio = logps - ref
        logit = BETA * (ratio[prompt, chosen] - ratio[prompt, rejected])
        loss = -(target * F.logsigmoid(logit) + (1 - target) * F.logsigmoid(-logit)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        if step % every == 0:
            reference = alpha * own.table.detach() + (1 - alpha) * reference
    TRDPO(alpha=alpha, every=every).run(job)
    rows = slice(None, PROMPTS)
    torch.testing.assert_close(job.model.table[rows], own.table[rows], atol=2e-5, rtol=0)


@pytest.mark.parametrize("alpha", [0.6, 1.0])
def test_with_adapters_the_average_is_of_weights(alpha, tmp_path):
    """Factors moved at random; the reference averaged on dense weights beside it."""
    seen = []

    def maker(data, reference):
        seen.append(np.asarray(reference))
        return dpo_maker()(data, reference)

    job = llama_job(tmp_path, "adapter", objective=maker)
    moving = MovingReference(job, weight_space(job.model), alpha, every=1)
    move = shaken(torch.Generator().manual_seed(3))
    average = dense(job.model)
    for _ in range(4):
        move(job.model)
        moving.step()
        now = dense(job.model)
        average = {n: alpha * now[n] + (1 - alpha) * average[n] for n in now}
    plain = llama_job(tmp_path).model
    own = dict(plain.named_parameters())
    with torch.no_grad():
        for name, weight in average.items():
            own[f"{name}.weight"].copy_(weight)
    np.testing.assert_allclose(seen[-1], response_logps(plain, job.data.table), atol=2e-4)
    assert np.abs(seen[-1] - job.reference).max() > 0.1


def test_a_reference_forgets_policies_below_rounding(tmp_path):
    job = llama_job(tmp_path, "adapter")
    moving = MovingReference(job, weight_space(job.model), 0.9, every=1)
    move = shaken(torch.Generator().manual_seed(3))
    for _ in range(10):
        move(job.model)
        moving.step()
    assert len(moving._updates) == 7  # 0.1^7 = 1e-7
    assert len(list(tmp_path.glob("logps-*.npy"))) == 1  # of the present reference


def test_steps_are_counted_for_the_own_optimiser_only():
    mine, other = (torch.nn.Parameter(torch.ones(2)) for _ in range(2))
    counted = []
    with after_every_step([mine], lambda: counted.append(1)):
        for p in (mine, other, mine):
            p.grad = torch.ones(2)
            torch.optim.SGD([p], lr=0.1).step()
    torch.optim.SGD([mine], lr=0.1).step()
    assert len(counted) == 2


def test_a_learned_loss_is_refused(tmp_path):
    learned = Objective(lambda scored: (scored.logps[:, 0], {}), module=torch.nn.Linear(1, 1))
    with pytest.raises(UsageError, match="learned part"):
        TRDPO().run(llama_job(tmp_path, objective=lambda *_: learned))


def test_the_first_reference_is_the_jobs_own(tmp_path):
    job = llama_job(tmp_path)
    assert np.allclose(
        sums(job.data.table, job.reference), sums(job.data.table, response_logps(job.model, job.data.table))
    )
    with pytest.raises(ArithmeticError, match="first loss"):
        TRDPO().run(
            llama_job(
                tmp_path / "wrong",
                reference=job.reference - 0.1 * np.arange(len(job.reference), dtype=np.float32),
            )
        )
