"""A killed run ends where an uninterrupted one ends, bit for bit: whatever is trained, at whatever step it was killed."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch

from pareto.core.logps import response_logps, sums
from pareto.core.loop import Hooks, TrainConfig, train
from pareto.errors import ArtifactError
from pareto.state.checkpoint import Checkpoints
from tests.core import small
from tests.core.learned import learned_dpo, state

TABLE = small.table((3, 1, 7, 2), ((1, 4, 2), (6, 1, 1), (3, 9, 5), (2, 2, 8)))
EXAMPLES = np.array([[0, 1], [0, 2], [1, 2], [3, 4], [3, 5], [4, 5], [6, 7], [6, 8], [9, 10], [9, 11]])
CONFIG = TrainConfig(steps=6, batch_size=4, accumulation=2, lr=0.01, log_every=4, checkpoint_every=1)
MODELS = {
    "full": lambda: small.llama(num_hidden_layers=1),
    "adapter": lambda: small.with_lora(small.llama(num_hidden_layers=1), warm=False, dropout=0.2),
}


class KilledError(Exception):
    """Stands for a process that ends."""


@pytest.fixture(scope="module")
def reference():
    model = small.llama(num_hidden_layers=1)
    return torch.from_numpy(sums(TABLE, response_logps(model, TABLE))[EXAMPLES]).float()


class KillAfter(Checkpoints):
    """Checkpoints whose writer dies right after the one of a step."""

    def __init__(self, folder, step):
        super().__init__(folder)
        self.step = step

    def save(self, step, tensors, facts):
        super().save(step, tensors, facts)
        if step == self.step:
            raise KilledError


def run(name, reference, checkpoints=None, config=CONFIG, lr=0.1):
    model, objective, rows = MODELS[name](), learned_dpo(reference, lr), []
    hooks = Hooks(log=rows.append, checkpoints=checkpoints)
    result = train(model, TABLE, EXAMPLES, objective, config, seed=1, hooks=hooks)
    weights = {n: p.detach().clone() for n, p in model.named_parameters()}
    return result, weights, state(objective), rows


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[n], other[n]) for n in one)


@pytest.fixture(scope="module", params=list(MODELS))
def uninterrupted(request, reference):
    return request.param, *run(request.param, reference)


@pytest.mark.parametrize("step", [1, 2, 3, 4, 5])
def test_resume_is_bit_exact_at_every_step(step, uninterrupted, reference, tmp_path):
    name, result, weights, learned, rows = uninterrupted
    with pytest.raises(KilledError):
        run(name, reference, KillAfter(tmp_path, step))
    torch.manual_seed(step)
    again = run(name, reference, Checkpoints(tmp_path))
    assert again[0] == result
    assert same(again[1], weights)
    assert same(again[2], learned)
    assert again[3] == rows[step >= 4 :]  # the row of step 4 was logged before its checkpoint


def test_the_learned_part_is_trained_and_kept_whole(uninterrupted, reference, tmp_path):
    name, _, _, learned, _ = uninterrupted
    assert float(learned["log_scale"]) != 0.0
    assert float(learned["frozen"]) == 1.0
    assert int(learned["visits"].sum()) == 6 * 4
    assert (learned["target"][learned["visits"] > 0] != 0.9).all()
    with pytest.raises(KilledError):
        run(name, reference, KillAfter(tmp_path, 3))
    step, tensors, facts = Checkpoints(tmp_path).latest()
    own = {n.removeprefix("module/") for n in tensors if n.startswith("module/")}
    assert own == {"log_scale", "frozen", "target", "visits"}
    assert {"optimizer/exp_avg/objective/log_scale", "optimizer/step/objective/log_scale"} <= set(tensors)
    assert step == 3
    assert facts["counted"] == 12
    json.dumps(facts)


def test_the_learned_part_has_its_own_rate(reference):
    """Adam's first step is the learning rate whatever the gradient: the temperature moves by its own rate."""
    away = reference + torch.tensor([2.0, -2.0])  # at the start the gap is zero, and with it the gradient
    for own, expected in ((None, 0.01), (0.3, 0.3)):
        config = CONFIG.model_copy(update={"steps": 1, "warmup": 0.0, "schedule": "constant"})
        learned = run("full", away, config=config, lr=own)[2]
        assert abs(float(learned["log_scale"])) == pytest.approx(expected, rel=1e-3)


def test_a_checkpoint_of_another_loss_or_model_is_refused(reference, tmp_path):
    with pytest.raises(KilledError):
        run("adapter", reference, KillAfter(tmp_path, 2))
    with pytest.raises(ArtifactError, match=r"holds no parameter '.*'.*start in an empty folder"):
        run("full", reference, Checkpoints(tmp_path))
    model, objective = MODELS["adapter"](), learned_dpo(reference)
    objective.module.register_buffer("more", torch.zeros(1))
    with pytest.raises(ArtifactError, match=r"checkpoint is of another loss: .*more"):
        train(
            model, TABLE, EXAMPLES, objective, CONFIG, seed=1, hooks=Hooks(checkpoints=Checkpoints(tmp_path))
        )


def test_state_that_is_no_tensor_is_refused(reference, tmp_path):
    model, objective = MODELS["full"](), learned_dpo(reference)
    type(objective.module).get_extra_state = lambda self: {"a": 1}
    try:
        with pytest.raises(ArtifactError, match=r"must be tensors .*_extra_state.* is a dict"):
            train(
                model,
                TABLE,
                EXAMPLES,
                objective,
                CONFIG,
                seed=1,
                hooks=Hooks(checkpoints=Checkpoints(tmp_path)),
            )
    finally:
        del type(objective.module).get_extra_state
