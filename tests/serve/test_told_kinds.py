"""Policies that are told their weights, and one whose prompts have weights of their own, over HTTP as in this process."""

from __future__ import annotations

import numpy as np

from pareto.models.adapters import LoRA
from pareto.models.generate import Sampling
from tests.serve.conftest import serving
from tests.steer.test_conditioned import make_run
from tests.steer.test_orchestrator import orchestrated  # noqa: F401  # a fixture
from tests.steer.test_prompt import run as told_run  # noqa: F401  # a fixture

PROMPT = "a dog ran after"
SAMPLING = Sampling(max_new_tokens=8)


def same(answer, reply, method):
    choice = answer["choices"][0]
    assert answer["pareto"]["method"] == method
    assert choice["text"] == reply.text
    np.testing.assert_allclose(choice["logprobs"]["token_logprobs"], reply.logps, rtol=1e-5, atol=2e-6)


def test_a_conditioned_policy_serves_any_weights(tmp_path):
    run, _ = make_run(tmp_path, LoRA(r=2))
    vectors = [{"helpful": h, "brief": 1.0 - h} for h in (1.0, 0.3, 0.0)]
    policy = run.steer(vectors[1], method="conditioned")
    together = policy.replies([PROMPT] * 3, SAMPLING, weights=vectors, seed=1)
    assert len({reply.text for reply in together}) > 1
    with serving(run) as client:
        for weights, reply in zip(vectors, together):
            asked = {"weights": weights, "method": "conditioned"}
            same(client.ask(PROMPT, pareto=asked, logprobs=0), reply, "conditioned")
        assert len(client.service.menu.lanes()) == 1


def test_a_policy_that_reads_directions_serves_negative_weights(told_run):  # noqa: F811
    with serving(told_run) as client:
        for weights in ({"helpful": 0.8, "brief": -0.6}, {"helpful": 0.6, "brief": 0.8}):
            (reply,) = told_run.steer(weights, method="prompt").replies([PROMPT], SAMPLING, seed=1)
            asked = {"weights": weights, "method": "prompt"}
            same(client.ask(PROMPT, pareto=asked, logprobs=0), reply, "prompt")


def test_an_orchestrated_policy_is_served(orchestrated):  # noqa: F811
    run, _ = orchestrated
    (reply,) = run.policy("o").replies([PROMPT], SAMPLING, seed=1)
    with serving(run) as client:
        answer = client.ask(PROMPT, pareto={"weights": {"helpful": 0.5, "brief": 0.5}}, logprobs=0)
        same(answer, reply, "nearest")
        answer = client.ask(PROMPT, model="tiny@o", logprobs=0)
        assert answer["choices"][0]["text"] == reply.text
