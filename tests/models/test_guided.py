"""Guided decoding against a slow second implementation, and against best-of-n at equal tokens on the lab."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from pareto import rng
from pareto.errors import DataError, ObjectiveError, ShapeError, SimplexError, UsageError
from pareto.models.generate import Sampling, choose
from pareto.models.guided import Guidance, best_of_n, guided_replies
from pareto.models.guided_policy import GuidedPolicy
from pareto.models.reward_models.steps import AfterText, EveryTokens, WholeReply
from pareto.models.reward_models.vector import NamedRewards, RewardVector, scalarised
from pareto.models.rewards import build_reward
from pareto.models.text_policy import TransformersPolicy
from pareto.objectives import Objectives
from pareto.policy_set import TextPolicy
from pareto.tasks.lab import Lab, language
from pareto.tasks.lab.step_rewards import StepRewards
from tests.lab_fixtures import lab_reference, small_lab
from tests.models.tiny import PROMPTS, llama, tokenizer

__all__ = ["lab_reference", "small_lab"]
AB = Objectives(["long", "as"])
LETTERS = RewardVector(
    (
        NamedRewards({"as": build_reward({"name": "regex", "pattern": "a"})}),
        NamedRewards({"long": build_reward({"name": "characters"})}),
    ),
    ("long", "as"),
)


@pytest.fixture(scope="module")
def policy() -> TransformersPolicy:
    return TransformersPolicy(llama(), tokenizer(), AB)


def test_what_scores_are_worth_by_hand():
    scores = np.array([[1.0, 4.0], [3.0, 2.0]])
    assert scalarised(scores, np.array([0.25, 0.75]), "sum").tolist() == [3.25, 2.25]
    assert scalarised(scores, np.array([0.6, -0.8]), "sum").tolist() == pytest.approx([-2.6, 0.2])
    assert scalarised(scores, np.array([0.25, 0.75]), "worst").tolist() == [1.0, 2.0]
    # an objective without weight is no worst case
    assert scalarised(scores, np.array([[0.0, 1.0], [1.0, 0.0]]), "worst").tolist() == [4.0, 3.0]
    with pytest.raises(SimplexError, match="weights >= 0"):
        scalarised(scores, np.array([0.6, -0.8]), "worst")


def test_reward_models_beside_each_other_come_in_the_wanted_order():
    found = LETTERS.of_replies(["x", "y"], ["cat", "rain a"])
    assert found[:, 0].tolist() == [-3.0, -6.0]  # characters are minimised
    assert found.shape == (2, 2)
    with pytest.raises(ObjectiveError, match="each of long, as, other once"):
        RewardVector(LETTERS.parts, ("long", "as", "other"))


def slowly(policy, prompt, weights, guidance, sampling, seed):
    """One prompt by itself, every token by a forward pass over everything before it; (reply, tokens drawn)."""
    import hashlib

    ids = policy.encode([prompt]).ids[0]
    name = hashlib.sha256(np.asarray(ids, dtype=np.int64).tobytes()).hexdigest()
    reply, drawn = [], 0
    for step in range(guidance.max_steps):
        candidates = []
        for k in range(guidance.candidates):
            stream = rng.generator("guided", seed, name, 0, step, k)
            own: list[int] = []
            while True:
                with torch.no_grad():
                    logits = policy.model(torch.tensor([ids + reply + own])).logits[:, -1]
                own.append(int(choose(logits, torch.tensor([stream.random()]), sampling)))
                if own[-1] == tokenizer().eos_token_id or len(reply + own) >= sampling.max_new_tokens:
                    break
                if guidance.steps.ended(tokenizer(), own):
                    break
            candidates.append(own)
            drawn += len(own)
        texts = [tokenizer().decode(reply + own, skip_special_tokens=True) for own in candidates]
        scores = LETTERS.of_replies([prompt] * len(texts), texts)
        reply += candidates[int(scalarised(scores, weights, guidance.rule).argmax())]
        if reply[-1] == tokenizer().eos_token_id or len(reply) >= sampling.max_new_tokens:
            break
    return reply, drawn


@pytest.mark.parametrize("steps", [AfterText(pattern="[aeo]"), EveryTokens(n=2), WholeReply()])
def test_cached_candidates_are_those_of_computing_everything_again(policy, steps):
    """Prompts of several lengths, candidates of several lengths, rows that leave: the same replies and the same count."""
    guidance = Guidance(candidates=3, steps=steps)
    sampling = Sampling(max_new_tokens=9, temperature=0.9, batch_size=3)
    weights = np.tile([0.2, 0.8], (len(PROMPTS), 1))
    found = guided_replies(policy, PROMPTS, LETTERS, weights, guidance, sampling, seed=4)
    for prompt, own, w in zip(PROMPTS, found, weights):
        reply, drawn = slowly(policy, prompt, w, guidance, sampling, 4)
        assert own.ids.tolist() == reply
        assert own.generated_tokens == drawn
        assert own.scores.tolist() == LETTERS.of_replies([prompt], [own.text])[0].tolist()
        assert own.ended == (reply[-1] == tokenizer().eos_token_id)


def test_the_same_prompt_twice_draws_twice_and_rows_have_weights_of_their_own(policy):
    guidance = Guidance(candidates=4, steps=EveryTokens())
    sampling = Sampling(max_new_tokens=6)
    both = guided_replies(policy, ["the cat"] * 2, LETTERS, np.eye(2), guidance, sampling)
    again = guided_replies(policy, ["the cat"] * 2, LETTERS, np.eye(2), guidance, sampling)
    assert [r.ids.tolist() for r in both] == [r.ids.tolist() for r in again]
    assert both[0].ids.tolist() != both[1].ids.tolist()
    first = guided_replies(policy, ["the cat"], LETTERS, np.array([1.0, 0.0]), guidance, sampling)[0]
    assert first.ids.tolist() == both[0].ids.tolist()
    with pytest.raises(ShapeError, match=r"weights must be \[2\] or \[1, 2\]"):
        guided_replies(policy, ["the cat"], LETTERS, np.ones(3), guidance, sampling)


def test_a_guided_policy_is_a_text_policy_without_log_probabilities(policy):
    own = GuidedPolicy(policy, LETTERS, AB, np.array([0.5, 0.5]), Guidance(steps=EveryTokens()))
    assert isinstance(own, TextPolicy)
    texts = own.generate(PROMPTS[:2], max_new_tokens=5, seed=1)
    assert texts == [r.text for r in own.replies(PROMPTS[:2], Sampling(max_new_tokens=5), seed=1)]
    assert "best of 5 steps by sum under long=0.5, as=0.5" in own.describe()
    with pytest.raises(UsageError, match="no log-probabilities"):
        own.logps(["a"], ["b"])


def test_a_model_whose_cache_cannot_be_cut_is_refused(policy, monkeypatch):
    monkeypatch.setattr("pareto.models.decoder.Decoder.keep", lambda self, rows: False)
    with pytest.raises(UsageError, match="draw whole replies"):
        guided_replies(policy, ["a"], LETTERS, np.array([1.0, 0.0]), Guidance(), Sampling())


# ---------------------------------------------------------------------------------------------- the lab


@pytest.fixture(scope="module")
def lab_policy(small_lab: Lab, lab_reference: Path) -> TransformersPolicy:
    model, own = small_lab.load_reference(lab_reference, "cpu", "float32")
    return TransformersPolicy(model, own, small_lab.objectives)


def test_step_rewards_add_up_to_the_rewards(small_lab: Lab):
    world, rewards = small_lab.world, StepRewards(small_lab)
    prompts = [language.prompt_text(world.prompts[p]) for p in (0, 5, 19)]
    for p, prompt in zip((0, 5, 19), prompts):
        replies = [language.response_text(c) for c in world.responses]
        whole = rewards.of_replies([prompt] * len(replies), replies)
        assert np.allclose(whole, world.rewards()[:, p].T)
    begun = " ".join(language.response_text(world.responses[5]).split(" ")[:0])
    assert rewards.of_replies([prompts[0]], [begun])[0].tolist() == [0.0, 0.0]
    with pytest.raises(DataError, match="no prompt 'what"):
        rewards.of_replies(["what"], [""])


@pytest.mark.parametrize("rule", ["sum", "worst"])
def test_guided_decoding_beats_best_of_n_at_equal_tokens_on_the_labs_step_rewards(
    rule, small_lab: Lab, lab_policy: TransformersPolicy
):
    rewards = StepRewards(small_lab)
    prompts = [language.prompt_text(p) for p in small_lab.world.prompts] * 10
    sampling = Sampling(max_new_tokens=6, batch_size=256)
    w = np.array([0.5, 0.5])
    guidance = Guidance(candidates=3, steps=EveryTokens(), rule=rule)
    guided = guided_replies(lab_policy, prompts, rewards, w, guidance, sampling)
    best = best_of_n(lab_policy, prompts, rewards, w, 3, sampling, rule=rule)
    plain = best_of_n(lab_policy, prompts, rewards, w, 1, sampling, rule=rule)
    cost = [sum(r.generated_tokens for r in replies) for replies in (guided, best)]
    assert cost[0] <= 1.01 * cost[1]
    worth = [
        scalarised(rewards.of_replies(prompts, [r.text for r in replies]), w, rule)
        for replies in (guided, best, plain)
    ]
    ahead = (
        worth[0] - worth[1 if rule == "sum" else 2]
    )  # the worst case of a begun reply says less of its end
    assert ahead.mean() > 3 * ahead.std() / np.sqrt(len(ahead))
    assert worth[1].mean() > worth[2].mean() + 0.5
