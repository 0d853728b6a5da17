"""`MODPO(...).fit(model, tokenizer, rows)`: objects in, a scored policy set out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.align import MOD, MODPO, MODPOConditioned, Soup
from pareto.core.loop import TrainConfig
from pareto.errors import DataError
from pareto.tasks.lab import Lab, language


@pytest.fixture(scope="module")
def rows(small_lab: Lab) -> list[dict[str, Any]]:
    """Short and polite replies: 'brief' always wins by length, 'warm' by the closing word."""
    draw = np.random.default_rng(0)
    found = []
    for _ in range(240):
        prompt = language.prompt_text(small_lab.world.prompts[draw.integers(20)])
        a, b = (language.response_text(small_lab.world.responses[draw.integers(27)]) for _ in range(2))
        if a != b:
            brief = int(np.sign(len(b) - len(a)))
            found.append(
                {
                    "prompt": prompt,
                    "response_a": a,
                    "response_b": b,
                    "preferences": {"brief": brief, "warm": -brief},
                }
            )
    return found


def test_objects_in_policies_out(
    small_lab: Lab, lab_reference: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    before = model.lm_head.weight.detach().clone()
    seen: list[dict[str, float]] = []
    method = MODPO(beta=0.5, training=TrainConfig(steps=6, batch_size=16, lr=1e-3, log_every=2))
    weights = [{"brief": 1.0, "warm": 0.0}, {"brief": 0.5, "warm": 0.5}]
    run = method.fit(model, tokenizer, rows, weights=weights, out=tmp_path / "run", callbacks=[seen.append])
    assert run.objectives.names == ("brief", "warm")
    assert run.weights.tolist() == [[1.0, 0.0], [0.5, 0.5]]
    assert ((run.values >= 0) & (run.values <= 1)).all()  # pair accuracies
    assert any("loss" in figures for figures in seen)
    assert (model.lm_head.weight == before).all()
    policy = run.steer({"brief": 0.9, "warm": 0.1})
    prompt = language.prompt_text(small_lab.world.prompts[0])
    assert len(policy.generate([prompt], max_new_tokens=4)) == 1
    assert np.isfinite(policy.logps([prompt], ["Good question."])).all()


@pytest.mark.parametrize(
    ("make", "kinds"),
    [
        (lambda training: MODPO(jobs="one", training=training), {"adapter"}),
        (lambda training: MODPOConditioned(training=training), {"conditioned"}),
        (lambda training: Soup(training=training), {"adapter"}),
        (lambda training: MOD(training=training), {"adapter", "decoding"}),
    ],
    ids=["one job", "conditioned", "soup", "mod"],
)
def test_every_way_to_a_front_takes_objects(
    make: Any,
    kinds: set[str],
    small_lab: Lab,
    lab_reference: Path,
    rows: list[dict[str, Any]],
    tmp_path: Path,
) -> None:
    """From rows to a run folder whose policies load, speak and are steered."""
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    weights = [{"brief": 1.0, "warm": 0.0}, {"brief": 0.25, "warm": 0.75}]
    method = make(TrainConfig(steps=2, batch_size=8, lr=1e-2))
    run = method.fit(model, tokenizer, rows, weights=weights, out=tmp_path / "run")
    assert run.weights.tolist() == [[1.0, 0.0], [0.25, 0.75]]
    assert {r.kind for r in run} == kinds
    prompt = language.prompt_text(small_lab.world.prompts[0])
    policies = [run.policy(0), run.policy(1), run.steer({"brief": 0.25, "warm": 0.75})]
    logps = [policy.logps([prompt], ["Good question."])[0] for policy in policies]
    assert logps[1] == pytest.approx(logps[2], abs=1e-4)
    assert logps[0] != logps[1]
    assert all(len(policy.generate([prompt], max_new_tokens=4)) == 1 for policy in policies)


def test_one_data_set_per_objective(
    small_lab: Lab, lab_reference: Path, rows: list[dict[str, Any]], tmp_path: Path
) -> None:
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")

    def ordinary(name: str) -> list[dict[str, str]]:
        won = [r for r in rows if r["preferences"][name] == 1]
        return [{"prompt": r["prompt"], "chosen": r["response_a"], "rejected": r["response_b"]} for r in won]

    method = MODPO(training=TrainConfig(steps=2, batch_size=8))
    data = {"warm": ordinary("warm"), "brief": ordinary("brief")}
    run = method.fit(model, tokenizer, data, weights=[{"warm": 0.0, "brief": 1.0}], out=tmp_path / "run")
    assert run.objectives.names == ("warm", "brief")
    assert [record.kind for record in run] == ["adapter"]


def test_no_rows_is_said(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got none"):
        MODPO().fit("model", None, [], out=tmp_path / "run")
    with pytest.raises(DataError, match="name no objective"):
        MODPO().fit("model", None, [{"prompt": "p", "chosen": "a", "rejected": "b"}], out=tmp_path / "run")
