"""`pareto steer` prints replies under the weights, and says which weights and which measured values stand nearest."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pareto.policy_set import LOADERS


class Echo:
    """A policy that repeats what it was asked, and how."""

    def __init__(self, run, record):
        self.objectives, self.name = run.objectives, record.id

    def generate(self, prompts, *, max_new_tokens=64, seed=0, temperature=1.0):
        return [f"{self.name} says {p!r} ({max_new_tokens}, {seed}, {temperature})" for p in prompts]

    def logps(self, prompts, responses):
        return np.zeros(len(prompts))


@pytest.fixture
def folder(write_run, temporary):
    temporary(LOADERS)
    LOADERS.register("fake", source="made up for this test")(Echo)
    return write_run()


def test_weights_in_text_out(pareto, folder):
    code, out, _ = pareto(
        "steer", folder, "--weights", "helpful=0.7,tokens=0.3", "--prompt", "Hi", "--prompt", "Ho", "--seed", 3,
        "--max-new-tokens", 9, "--temperature", 0.5,
    )  # fmt: skip
    assert code == 0
    assert out == (
        "weights: helpful=0.7, tokens=0.3 (method auto, nearest: policy 'a' is of kind 'fake', which has no exact mixture)\n"
        "nearest measured: b, helpful=2, tokens=4\n"
        "\n> Hi\nb says 'Hi' (9, 3, 0.5)\n"
        "\n> Ho\nb says 'Ho' (9, 3, 0.5)\n"
    )


def test_a_query_picks_a_measured_policy(pareto, folder):
    code, out, _ = pareto("steer", folder, "--at", "tokens >= 5, tokens <= 8, max helpful", "--prompt", "Hi")
    assert code == 0
    assert out.startswith("weights: none (method auto)\nnearest measured: c, helpful=1.5, tokens=6\n")
    assert "c says 'Hi'" in out


def test_without_a_prompt_one_the_run_kept_is_used(pareto, folder):
    arguments = ("steer", folder, "--weights", "helpful=1,tokens=0")
    code, _, err = pareto(*arguments)
    assert code == 2
    assert "give a prompt with --prompt" in err
    (folder / "samples").mkdir()
    (folder / "samples" / "a.jsonl").write_text(json.dumps({"prompt": "Kept", "reply": "x"}) + "\n")
    assert "> Kept\na says 'Kept'" in pareto(*arguments)[1]


def test_one_method_of_several(pareto, folder, write_run):
    """Of all, b has the most helpful within 5 tokens; of the second method's alone, d."""

    def edit(front):
        front["methods"] = {name: {"study": name, "indicators": {}, "exact": None} for name in ("one", "two")}
        for policy in front["policies"]:
            policy["method"] = "two" if policy["id"] == "d" else "one"

    query = ("--at", "tokens <= 5, max helpful", "--prompt", "Hi")
    assert "b says 'Hi'" in pareto("steer", write_run(edit), *query)[1]
    assert "d says 'Hi'" in pareto("steer", folder, "--of", "two", *query)[1]
    code, _, err = pareto("steer", folder, "--of", "tow", *query)
    assert code == 2
    assert "holds policies of one, two; got 'tow' (did you mean 'two'?)" in err


def test_policies_that_act_are_named(pareto, write_run, fake_kind):
    code, _, err = pareto("steer", write_run(), "--at", "max helpful")
    assert code == 2
    assert "act in an environment" in err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "one of the arguments --weights --at is required"),
        (["--weights", "helpful=1,tokens=0", "--at", "max helpful"], "not allowed with"),
        (["--weights", "helpful"], "expected NAME=NUMBER"),
        (["--weights", "helpful=x"], "expected NAME=NUMBER"),
        (["--weights", "helpful=nan,tokens=1"], "expected NAME=NUMBER"),
        (["--weights", "helpful=1,helpful=0"], "'helpful' comes twice"),
        (["--weights", "helpful=1"], "missing: tokens"),
        (["--weights", "helpful=1,tokens=1"], "sums to 2"),
        (["--at", "helpful >= 9, min tokens"], "none of the 4 measured policies"),
        (["--weights", "helpful=1,tokens=0", "--method", "suop"], "unknown steering method 'suop'"),
    ],
)
def test_wrong_requests_exit_2(pareto, folder, arguments, message):
    code, out, err = pareto("steer", folder, *arguments)
    assert (code, out) == (2, "")
    assert message in err
