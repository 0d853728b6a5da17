"""The lab's truth: enumeration against the model's own forward pass, optima against gradient-free search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pareto.policy_set import TextPolicy
from pareto.tasks.lab import Lab, exact, language


@pytest.fixture(scope="module")
def problem() -> tuple[np.ndarray, np.ndarray]:
    """A reference [P, Y] and rewards [m, P, Y] of 5 prompts, 30 replies, 3 objectives."""
    draw = np.random.default_rng(0)
    ref = draw.standard_normal((5, 30))
    return ref - np.logaddexp.reduce(ref, axis=1, keepdims=True), draw.standard_normal((3, 5, 30))


def test_enumeration_is_the_models_own_probability(small_lab: Lab, lab_reference: Path) -> None:
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    logps, outside = small_lab.enumerate(model, np.array([0, 17]), tokenizer)
    prompts, replies = (
        language.prompt_ids(small_lab.world, tokenizer),
        language.response_ids(small_lab.world, tokenizer),
    )
    for row, p in enumerate((0, 17)):
        ids = torch.tensor(np.column_stack([np.tile(prompts[p], (27, 1)), replies]).astype(np.int64))
        with torch.no_grad():
            full = model(input_ids=ids).logits.double().log_softmax(-1)
        own = full[:, 3:-1].gather(-1, ids[:, 4:, None]).squeeze(-1).sum(-1).numpy()
        assert logps[row] == pytest.approx(own - np.logaddexp.reduce(own), abs=1e-4)
    assert 0 <= outside < 0.05


def test_text_and_tokens_are_the_same_thing(small_lab: Lab) -> None:
    tokenizer = language.make_tokenizer(small_lab.world)
    for p in small_lab.world.prompts:
        ids = tokenizer(language.prompt_text(p))["input_ids"]
        assert len(ids) == 4
        assert tokenizer.decode(ids, skip_special_tokens=True) == language.prompt_text(p)
    for y in small_lab.world.responses:
        ids = tokenizer(language.response_text(y), add_special_tokens=False)["input_ids"]
        assert len(ids) == 3
        assert tokenizer.decode(ids) == language.response_text(y)


def test_no_policy_beats_the_optimum(problem: tuple[np.ndarray, np.ndarray]) -> None:
    ref, rewards = problem
    w, beta = np.array([0.2, 0.5, 0.3]), 0.7

    def utility(logps: np.ndarray) -> float:
        return float((exact.values(logps, rewards) @ w - beta * exact.kl(logps, ref)).mean())

    best = exact.optimum(ref, rewards, w, beta)
    draw = np.random.default_rng(1)
    for size in (1e-3, 0.1, 1.0):
        for _ in range(20):
            assert utility(exact.tilt(best, size * draw.standard_normal(best.shape))) < utility(best)
    # and its utility is beta times the log of the partition function
    partition = np.log((np.exp(ref) * np.exp(np.tensordot(w, rewards, 1) / beta)).sum(1))
    assert utility(best) == pytest.approx(beta * partition.mean())


def test_optimality_is_the_share_of_utility_reached(problem: tuple[np.ndarray, np.ndarray]) -> None:
    """The two forms of contracts: from utilities, and 1 - KL(pi, pi*) / KL(pi_ref, pi*)."""
    ref, rewards = problem
    w, beta = np.array([0.2, 0.5, 0.3]), 0.7
    policy = exact.tilt(ref, 0.4 * rewards[1])

    def utility(logps: np.ndarray) -> float:
        return float((exact.values(logps, rewards) @ w - beta * exact.kl(logps, ref)).mean())

    share = (utility(policy) - utility(ref)) / (utility(exact.optimum(ref, rewards, w, beta)) - utility(ref))
    found = exact.standing(policy, ref, rewards, w, beta)
    assert found.optimality == pytest.approx(share)
    assert found.kl_nats == pytest.approx(exact.kl(policy, ref).mean())
    assert exact.standing(ref, ref, rewards, w, beta).optimality == pytest.approx(0.0)
    best = exact.optimum(ref, rewards, w, beta)
    assert exact.standing(best, ref, rewards, w, beta).optimality == pytest.approx(1.0)


def test_equal_strength_is_found_again(problem: tuple[np.ndarray, np.ndarray]) -> None:
    ref, rewards = problem
    weights = np.array([[1.0, 0, 0], [0.3, 0.3, 0.4]])
    mean_kl = np.mean([exact.kl(exact.optimum(ref, rewards, w, 0.8), ref).mean() for w in weights])
    assert exact.beta_at_kl(ref, rewards, weights, float(mean_kl)) == pytest.approx(0.8, rel=1e-6)


def test_exact_policies_score_one_against_themselves(problem: tuple[np.ndarray, np.ndarray]) -> None:
    ref, rewards = problem
    rewards = rewards[:2]
    weights = np.array([[1, 0], [0.75, 0.25], [0.5, 0.5], [0.25, 0.75], [0, 1.0]])
    front = exact.exact_front(ref, rewards, weights, 0.5)
    mean_kl = float(np.mean([exact.kl(exact.optimum(ref, rewards, w, 0.5), ref).mean() for w in weights]))
    block = exact.compare_fronts(front, weights, mean_kl, np.array([-2.0, -2.0]), ref, rewards)
    assert block["hypervolume_ratio"] == pytest.approx(1.0, abs=1e-6)
    assert 0.8 < block["coverage"] < 1.0
    assert block["mixture_ratio"] < 1.0
    # mixtures of five exact policies lose less than the policies alone
    assert block["mixture_ratio"] > block["coverage"]


def test_scores_of_the_reference_itself(small_lab: Lab, lab_reference: Path, tmp_path: Path) -> None:
    """A policy that is the reference: optimality 0, KL 0, expected rewards by hand."""
    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    model.save_pretrained(tmp_path)
    (tmp_path / "policy.json").write_text('{"kind": "model", "weights": null, "beta": 1.0}')
    needs = {"reference": lab_reference}
    for split, n, mark in (("selection", 16, ""), ("heldout", 4, "_heldout")):
        scores = small_lab.score(tmp_path, "model", {"helpful": 0.5, "brief": 0.5}, split, needs)
        prompts = small_lab.world.split(split)
        logps, _ = small_lab.enumerate(model, prompts, tokenizer)
        by_hand = np.stack(
            [(np.exp(logps) * r).sum(1) for r in small_lab.world.rewards()[:, prompts]], axis=1
        )
        assert scores.values.shape == (n, 2)
        assert scores.values == pytest.approx(by_hand)
        assert scores.facts[f"optimality{mark}"] == pytest.approx(0.0, abs=1e-5)
        assert scores.facts[f"kl{mark}_nats"] == pytest.approx(0.0, abs=1e-6)


def test_samples_read_as_text(small_lab: Lab, lab_reference: Path, tmp_path: Path) -> None:
    model, _ = small_lab.load_reference(lab_reference, "cpu", "float32")
    model.save_pretrained(tmp_path)
    samples = small_lab.samples(tmp_path, "model", {"reference": lab_reference}, 3)
    assert len(samples) == 3
    for sample in samples:
        assert sample["prompt"].count("?") == 1
        assert sample["response"].strip() == sample["response"]
        assert set(sample["rewards"]) == {"helpful", "brief"}


def test_generation_agrees_with_enumeration(small_lab: Lab, lab_reference: Path) -> None:
    """Frequencies of 600 generated replies against the enumerated distribution (total variation)."""
    from pareto.models.text_policy import TransformersPolicy

    model, tokenizer = small_lab.load_reference(lab_reference, "cpu", "float32")
    policy = TransformersPolicy(model, tokenizer, small_lab.objectives)
    assert isinstance(policy, TextPolicy)
    prompt = language.prompt_text(small_lab.world.prompts[0])
    logps, _ = small_lab.enumerate(model, np.array([0]), tokenizer)
    texts = [language.response_text(y) for y in small_lab.world.responses]
    direct = policy.logps([prompt] * len(texts), texts)
    assert logps[0] == pytest.approx(direct - np.logaddexp.reduce(direct), abs=1e-4)
    replies = policy.generate([prompt] * 600, max_new_tokens=5, seed=1)
    counts = np.array([replies.count(t) for t in texts]) / len(replies)
    assert 0.5 * np.abs(counts - np.exp(logps[0])).sum() < 0.12
