"""What was measured, over HTTP: the front, and who is picked of it."""

from __future__ import annotations

import time

import pytest


def test_models_are_the_run_and_its_policies(tiny):
    _, listed = tiny.get("/v1/models")
    assert [row["id"] for row in listed["data"]] == ["tiny", "tiny@h", "tiny@half", "tiny@b"]
    assert tiny.get("/v1/models/tiny@h")[1]["id"] == "tiny@h"
    assert tiny.get("/v1/models/gpt")[0] == 404


def test_the_front(tiny):
    _, front = tiny.get("/v1/pareto/front")
    assert (front["kind"], front["name"], front["weights_kind"]) == ("text", "tiny", "simplex")
    assert [o["name"] for o in front["objectives"]] == ["helpful", "brief"]
    h, half, _ = front["policies"]
    assert h | {"seed": 0} == {
        "id": "h",
        "kind": "adapter",
        "seed": 0,
        "weights": {"helpful": 1.0, "brief": 0.0},
        "values": {"helpful": 1.0, "brief": 0.0},
        "ci95": None,
        "non_dominated": True,
    }
    assert half["values"] == {"helpful": 0.5, "brief": 0.5}
    assert "soup" in [m["name"] for m in front["methods"]]


@pytest.mark.parametrize(
    ("asked", "policy"),
    [
        ({"at": "brief >= 0.4, max helpful"}, "half"),
        ({"utility": {"helpful": 2, "brief": 1}}, "h"),  # 2, 1.5, 1
        ({"utility": {"brief": 1}}, "b"),
        ({"weights": {"helpful": 3, "brief": 2}}, "half"),  # (0.6, 0.4) is nearest to (0.5, 0.5)
    ],
)
def test_a_query_a_utility_or_weights_pick_a_policy(tiny, asked, policy):
    status, answer = tiny.post("/v1/pareto/select", asked)
    assert (status, answer["policy"]["id"]) == (200, policy)


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({}, "give one of"),
        ({"at": "max helpful", "utility": {"helpful": 1}}, "give one of"),
        ({"utility": {"fast": 1}}, "unknown objective 'fast'"),
        ({"weights": {"helpful": -1, "brief": 0}}, "at least one weight"),
        ({"at": "helpful > 1"}, "expected a query"),
        ({"what": 1}, "Extra inputs"),
    ],
)
def test_what_picks_nothing(tiny, asked, words):
    status, answer = tiny.post("/v1/pareto/select", asked)
    assert status == 400
    assert words in answer["error"]["message"]


def test_counters_follow_requests(tiny):
    def value(name):
        text = tiny.send("GET", "/metrics")[2].decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name))

    tokens, answers = (
        value("pareto_generated_tokens_total"),
        value('pareto_requests_total{route="/v1/completions"'),
    )
    got = tiny.ask(max_tokens=5)["usage"]
    # the last token is delivered within the step that is counted when it is over
    for _ in range(100):
        if value("pareto_generated_tokens_total") - tokens == got["completion_tokens"]:
            break
        time.sleep(0.05)
    assert value("pareto_generated_tokens_total") - tokens == got["completion_tokens"]
    assert value('pareto_requests_total{route="/v1/completions"') - answers == 1
    assert value("pareto_running") == 0


def test_agents_are_not_asked_of_a_run_of_texts(tiny):
    status, answer = tiny.post("/v1/pareto/rollout", {})
    assert (status, answer["error"]["code"]) == (400, "UsageError")
