"""Pairs drawn from a policy: their labels against the rewards, their replies against the policy."""

from __future__ import annotations

import json

import numpy as np
import pytest

from pareto.cells import FitContext
from pareto.errors import ConfigError
from pareto.tasks.lab import language
from pareto.tasks.text import Text
from tests.models import tiny


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(text task whose objectives are derived from length in opposite directions, its reference folder)."""
    root = tmp_path_factory.mktemp("fresh")
    rows = [
        {
            "prompt": f"tell {i}",
            "responses": [tiny.TEXTS[0][:n] for n in (12, 30, 60)],
            "scores": [{"good": float(s)} for s in range(3)],
        }
        for i in range(30)
    ]
    (root / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    settings = {
        "data": [str(root / "rows.jsonl")],
        "objectives": [
            {"name": "brief", "derive": "characters", "scale": 10.0},
            {"name": "long", "label": "good", "reward": "characters", "direction": "max"},
        ],
        "from_config": {"hidden": 16, "layers": 1, "heads": 2, "vocab_size": 300, "max_positions": 96},
        "limits": {"prompt_tokens": 24, "response_tokens": 40},
        "sft": {"on": "all", "training": {"steps": 4, "batch_size": 8, "lr": 3e-3}},
        "generation": {"prompts": 4, "sampling": {"max_new_tokens": 6, "temperature": 0.0}},
    }
    settings["objectives"][0]["reward"] = "characters"
    task, folder = Text.model_validate_json(json.dumps(settings)), root / "reference"
    for path in (folder, root / "scratch"):
        path.mkdir()
    task.build("reference", task.prerequisites()["reference"], FitContext(folder, root / "scratch"))
    return task, folder


def test_text_pairs_are_labelled_by_the_rewards_of_their_replies(built):
    task, folder = built
    model, tokenizer = task.load_reference(folder, "cpu", "float32")
    pairs, rewards = task.fresh_pairs(folder, model, 20, 0)
    texts = tokenizer.batch_decode(
        [pairs.table.responses[i].tolist() for i in range(len(pairs.table.responses))],
        skip_special_tokens=True,
    )
    lengths = np.array([len(t) for t in texts], dtype=float)
    np.testing.assert_allclose(rewards, np.column_stack([-lengths / 10, lengths]))
    np.testing.assert_array_equal(pairs.labels, np.sign(rewards[pairs.a] - rewards[pairs.b]))
    assert 10 < len(pairs) <= 20
    assert (np.abs(pairs.labels).sum(0) > 0).all()
    known = task.load_pairs(folder).table.prompts
    assert pairs.table.prompts is not None
    assert len(pairs.table.prompts) == len(known)
    again, _ = task.fresh_pairs(folder, model, 20, 0)
    other, _ = task.fresh_pairs(folder, model, 20, 1)
    assert again.table.sha256() == pairs.table.sha256() != other.table.sha256()


def test_objectives_without_a_reward_cannot_label(built):
    task, folder = built
    bare = Text.model_validate_json(json.dumps(task.model_dump(mode="json") | {"objectives": ["good"]}))
    with pytest.raises(ConfigError, match="'good' is labelled by the data"):
        bare.fresh_pairs(folder, None, 5, 0)


def test_lab_pairs_come_from_the_policy_and_carry_true_rewards(small_lab, lab_reference):
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    pairs, rewards = small_lab.fresh_pairs(lab_reference, model, 3000, 5)
    replies = language.response_ids(small_lab.world, tokenizer)
    truth = small_lab.world.rewards()
    for i in range(0, len(rewards), 17):
        y = next(k for k, ids in enumerate(replies) if list(ids) == pairs.table.responses[i].tolist())
        np.testing.assert_allclose(rewards[i], truth[:, pairs.table.prompt_of[i], y])
    gap = (
        rewards[pairs.a] - rewards[pairs.b]
    )  # Bradley-Terry: of labels 1 or -1 the mean is 2 sigmoid(gap) - 1
    np.testing.assert_allclose(pairs.labels.mean(0), (2 / (1 + np.exp(-gap)) - 1).mean(0), atol=0.06)
    assert set(pairs.table.prompt_of) <= set(small_lab.world.split("selection"))
