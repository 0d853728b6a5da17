"""Agents over HTTP: who is picked by values, and an episode that can be checked by hand."""

from __future__ import annotations

import base64

import pytest

from pareto.study.run import sweep
from tests.serve.conftest import serving

STUDY = {
    "study": "sea",
    "task": {
        "kind": "env",
        "id": "pareto/DeepSeaTreasure-v0",
        "selection_episodes": 1,
        "heldout_episodes": 1,
    },
    "method": {"name": "pareto_q", "total_steps": 4000},
    "score": {"ref_point": {"treasure": 0, "time": -50}},
    "engine": {"workers": 1, "device": "cpu"},
}


@pytest.fixture(scope="session")
def sea(tmp_path_factory):
    """A server of agents; a session's only one of its kind."""
    run = sweep(STUDY, tmp_path_factory.mktemp("sea") / "run")
    assert len(run) > 1
    with serving(run, name="sea") as client:
        yield client


def test_an_agent_is_picked_by_what_it_reaches_and_its_episode_gives_that(sea):
    _, front = sea.get("/v1/pareto/front")
    assert (front["kind"], front["methods"]) == ("agent", [])
    status, best = sea.post("/v1/pareto/select", {"at": "max treasure"})
    assert status == 200
    values = best["policy"]["values"]
    assert values["treasure"] == max(p["values"]["treasure"] for p in front["policies"])
    status, played = sea.post("/v1/pareto/rollout", {"pareto": {"at": "max treasure"}, "seed": 3})
    assert status == 200
    assert (played["policy"], played["end"]) == (best["policy"]["id"], "terminated")
    # time is -1 a step and treasure comes with the last one; values are discounted by 0.99
    n = len(played["steps"])
    assert played["sums"]["time"] == -n
    assert values["treasure"] == pytest.approx(0.99 ** (n - 1) * played["sums"]["treasure"], rel=1e-6)
    assert values["time"] == pytest.approx(-(1 - 0.99**n) / 0.01, rel=1e-6)
    assert all(set(step) == {"observation", "action", "reward"} for step in played["steps"])


def test_pictures_come_where_the_environment_draws(sea):
    status, played = sea.post("/v1/pareto/rollout", {"frames": True, "steps": 2})
    assert status == 200
    assert len(played["steps"]) <= 2
    for step in played["steps"]:
        if step["frame"] is not None:
            assert base64.b64decode(step["frame"].partition(",")[2]).startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"pareto": {"weights": {"treasure": 1, "time": 1}}}, "made for no weights"),
        ({"pareto": {"policy": "nobody"}}, "holds no policy"),
        ({"pareto": {"at": "treasure >= 1e9, max time"}}, "none of the"),
        ({"steps": 0}, "greater than"),
        ({"steps": 10**6}, "less than"),
        ({"seed": -1}, "greater than"),
    ],
)
def test_what_is_refused(sea, asked, words):
    status, answer = sea.post("/v1/pareto/rollout", asked)
    assert status == 400
    assert words in answer["error"]["message"]


def test_agents_write_no_text(sea):
    status, answer = sea.post("/v1/completions", {"model": "sea", "prompt": "a"})
    assert status == 400
    assert "/v1/pareto/rollout" in answer["error"]["message"]
