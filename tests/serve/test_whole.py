"""Policies that write whole replies by their own ways are served too, one after the other."""

from __future__ import annotations

import pytest

from pareto.policy_set import STEERERS
from tests.serve.conftest import serving


class Loud:
    """Says the prompt in capitals with its weight; what it stands on is a decodable policy."""

    def __init__(self, policy):
        self.policy, self.objectives = policy, policy.objectives

    def generate(self, prompts, *, weights=None, max_new_tokens=64, seed=0, temperature=1.0, top_p=1.0):
        assert max_new_tokens == 8
        return [f"{prompt.upper()} {weights[0]:.2f} {seed}" for prompt in prompts]


@pytest.fixture
def loud(adapter_run, temporary):
    temporary(STEERERS)

    @STEERERS.register("loud", source="made up for tests")
    def steer(run, weights, *, device="cpu"):
        return Loud(run.policy("h"))

    with serving(adapter_run) as client:
        yield client


def test_whole_replies(loud):
    def ask(w, **fields):
        return loud.ask(
            "rain", seed=5, pareto={"weights": {"helpful": w, "brief": 1 - w}, "method": "loud"}, **fields
        )

    assert ask(0.25)["choices"][0]["text"] == "RAIN 0.25 5"
    assert ask(0.75)["choices"][0]["text"] == "RAIN 0.75 5"  # the same lane, other weights
    assert ask(0.75, stop=" 0")["choices"][0] == {
        "index": 0,
        "text": "RAIN",
        "logprobs": None,
        "finish_reason": "stop",
    }
    assert len(loud.service.menu.lanes()) == 2
    fields = {"weights": {"helpful": 1, "brief": 0}, "method": "loud"}
    events = loud.events(
        "/v1/completions", {"model": "tiny", "prompt": "rain", "max_tokens": 8, "seed": 1, "pareto": fields}
    )
    assert "".join(c["text"] for e in events for c in e["choices"]) == "RAIN 1.00 1"
    asked = {"model": "tiny", "prompt": "rain", "max_tokens": 8, "logprobs": 1, "pareto": fields}
    status, answer = loud.post("/v1/completions", asked)
    assert (status, answer["error"]["param"]) == (400, "logprobs")


def test_a_fault_of_one_is_no_fault_of_others(loud):
    fields = {"weights": {"helpful": 1, "brief": 0}, "method": "loud"}
    asked = {"model": "tiny", "prompt": "rain", "max_tokens": 9, "pareto": fields}
    assert loud.post("/v1/completions", asked)[0] == 503  # it insists on 8
    assert loud.ask()["choices"]
