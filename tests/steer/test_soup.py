"""The exact mixture as a policy: vertices are the stored policies, rows do not see each other, and what is refused."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch

from pareto.errors import ArtifactError, ShapeError, SimplexError, UsageError
from pareto.models.generate import Sampling
from pareto.models.text_policy import TransformersPolicy
from pareto.policy_set import STEERERS, PolicySet, TextPolicy
from tests.models import adapters_by_hand as by_hand
from tests.models import tiny
from tests.steer.conftest import record

PROMPTS = list(tiny.PROMPTS)
REPLIES = [" sat on a mat", " it", " fell over", "", " the dog"]


@pytest.fixture(scope="module", params=["adapter", "model"])
def run(request):
    return request.getfixturevalue(f"{request.param}_run")


@pytest.fixture(scope="module")
def soup(run):
    return run.steer([0.7, 0.3], method="soup")


def test_it_is_a_text_policy_and_says_what_it_is(run, soup):
    assert isinstance(soup, TextPolicy)
    assert soup.shares == {"h": 0.7, "b": 0.3}
    assert soup.describe() == "soup: 0.7 x h, 0.3 x b"
    assert STEERERS.entry("soup").source


def test_a_vertex_is_the_stored_policy(run, soup):
    for name, weights in (("h", {"helpful": 1.0, "brief": 0.0}), ("b", [0.0, 1.0])):
        stored = run.policy(name)
        got = soup.logps(PROMPTS, REPLIES, weights=weights)
        np.testing.assert_allclose(got, stored.logps(PROMPTS, REPLIES), rtol=1e-6)
        assert soup.generate(PROMPTS, weights=weights, max_new_tokens=8, seed=1) == stored.generate(
            PROMPTS, max_new_tokens=8, seed=1
        )
    assert abs(soup.logps(PROMPTS, REPLIES) - stored.logps(PROMPTS, REPLIES)).max() > 1e-2


def test_every_row_has_its_own_weights_and_no_neighbours(soup):
    rows = [[w, 1 - w] for w in (0.0, 0.2, 0.5, 0.9, 1.0)]
    together = soup.replies(PROMPTS, Sampling(max_new_tokens=10), weights=rows, seed=[4, 4, 5, 6, 7])
    for i, seed in enumerate((4, 4, 5, 6, 7)):
        alone = soup.replies([PROMPTS[i]], Sampling(max_new_tokens=10), weights=rows[i], seed=seed)[0]
        assert alone.text == together[i].text
        np.testing.assert_allclose(alone.logps, together[i].logps, atol=1e-4)
    logps = soup.logps(PROMPTS, REPLIES, weights=rows)
    np.testing.assert_allclose(logps[1], soup.logps(PROMPTS[1:2], REPLIES[1:2], weights=rows[1]), rtol=1e-5)


def test_a_prompt_beside_itself_under_other_weights_keeps_its_draws(soup):
    """Differences between two panes come from the weights alone."""
    pair = soup.generate(["rain", "rain"], weights=[[1, 0], [0.3, 0.7]], max_new_tokens=10, seed=2)
    assert pair == [
        soup.generate(["rain"], weights=w, max_new_tokens=10, seed=2)[0] for w in ([1, 0], [0.3, 0.7])
    ]
    same = soup.generate(["rain", "rain"], weights=[[1, 0], [1, 0]], max_new_tokens=10, seed=2)
    assert same[0] != same[1]  # a second sample of one request


def test_replies_streams_and_logps_agree(soup):
    sampling = Sampling(max_new_tokens=8)
    reply = soup.replies(["a dog ran after"], sampling, seed=3)[0]
    pieces = list(soup.stream(["a dog ran after"], sampling, seed=3))
    assert "".join(p.text for p in pieces) == reply.text
    np.testing.assert_allclose([p.logp for p in pieces], reply.logps, rtol=1e-6)
    prompt = tiny.tokenizer()("a dog ran after")["input_ids"]
    with torch.no_grad(), soup.model.at(torch.tensor([0.7, 0.3])):
        out = soup.model(input_ids=torch.tensor([[*prompt, *reply.ids.tolist()]])).logits[0].log_softmax(-1)
    want = [float(out[len(prompt) - 1 + i, t]) for i, t in enumerate(reply.ids)]
    np.testing.assert_allclose(reply.logps, want, atol=1e-5)


def test_prefixes_are_kept_for_one_policy_and_one_weight(soup):
    cache = soup.prefix_cache(block_tokens=2)
    sampling = Sampling(max_new_tokens=5)
    cold = soup.replies(PROMPTS, sampling, cache=cache)
    misses = cache.misses
    warm = soup.replies(PROMPTS, sampling, cache=cache)
    assert cache.misses == misses
    assert all(np.array_equal(a.logps, b.logps) and a.text == b.text for a, b in zip(cold, warm))
    soup.replies(PROMPTS[:1], sampling, cache=cache, weights=[0.69, 0.31])
    assert cache.misses > misses


def test_all_policies_or_named_ones_may_be_mixed(adapter_run):
    near = adapter_run.steer([0.8, 0.2], method="soup", among="all")
    assert near.shares == pytest.approx({"h": 0.6, "half": 0.4})
    assert adapter_run.steer([0.5, 0.5], method="soup", among="all").shares == {"half": 1.0}
    named = adapter_run.steer([0.25, 0.75], method="soup", among=["half", "b"])
    assert named.shares == pytest.approx({"half": 0.5, "b": 0.5})
    with pytest.raises(SimplexError, match="do not enclose"):
        adapter_run.steer([0.8, 0.2], method="soup", among=["half", "b"])
    with pytest.raises(UsageError, match="'corners', 'all' or a list"):
        adapter_run.steer([0.8, 0.2], method="soup", among="nearby")


def test_outside_the_simplex_only_on_request_and_marked(adapter_run):
    with pytest.raises(SimplexError, match="must be >= 0"):
        adapter_run.steer([1.2, -0.2], method="soup")
    out = adapter_run.steer([1.2, -0.2], method="soup", extrapolate=True)
    assert out.extrapolated
    assert out.describe() == "soup: 1.2 x h, -0.2 x b (extrapolated, outside the simplex)"
    assert np.isfinite(out.logps(PROMPTS, REPLIES)).all()
    inside = adapter_run.steer([0.7, 0.3], method="soup", extrapolate=True)
    assert not inside.extrapolated
    with pytest.raises(SimplexError, match="sum to 1"):
        adapter_run.steer([1.2, 0.2], method="soup", extrapolate=True)
    plain = adapter_run.steer([0.7, 0.3], method="soup")
    with pytest.raises(SimplexError, match="must be >= 0"):
        plain.logps(PROMPTS, REPLIES, weights=[1.2, -0.2])


def test_wrong_weights_for_rows_are_refused(soup):
    with pytest.raises(ShapeError, match="one for each of 5 prompts; got 2"):
        soup.generate(PROMPTS, weights=[[1, 0], [0, 1]])
    with pytest.raises(SimplexError, match="must be numbers"):
        soup.generate(PROMPTS, weights=[["x", 1]])
    assert soup.generate([]) == []
    with pytest.raises(ShapeError, match="a prompt is needed"):
        soup.logps(["a"], [])


def test_policies_that_do_not_add_up_are_refused_with_the_reason(adapter_run, tmp_path):
    h, half, b = adapter_run.records

    def steer(*records, **options):
        return PolicySet(adapter_run.folder, records, adapter_run.objectives).steer(
            [0.5, 0.5], method="soup", **options
        )

    with pytest.raises(UsageError, match=r"needs a policy made for each objective.*h, half"):
        steer(h, half)
    with pytest.raises(UsageError, match="of one seed"):
        steer(h, dataclasses.replace(b, seed=1))
    assert steer(h, half, dataclasses.replace(b, seed=1), b).shares == {"h": 0.5, "b": 0.5}
    with pytest.raises(UsageError, match="kind 'heads', which has no exact mixture"):
        steer(h, dataclasses.replace(b, kind="heads"))
    with pytest.raises(UsageError, match="different kinds"):
        steer(h, dataclasses.replace(b, kind="model"))
    with pytest.raises(UsageError, match="made for directions"):
        PolicySet(
            adapter_run.folder, (dataclasses.replace(h, weights_kind="direction"), b), adapter_run.objectives
        ).steer([0.6, 0.8], method="soup")
    changed = dataclasses.replace(b, files={name: "0" * 64 for name in b.files})
    with pytest.raises(ArtifactError, match="does not have the sha256"):
        steer(h, changed)


def test_policies_on_different_bases_are_refused(tmp_path):
    by_hand.write_reference(tmp_path / "prerequisites" / "base")
    twin = by_hand.write_reference(tmp_path / "prerequisites" / "twin")
    for seed, name in enumerate(("h", "b")):
        by_hand.write_ours(tmp_path / "policies" / name, seed)

    def run():
        records = (
            record(tmp_path, "h", "adapter", (1.0, 0.0)),
            record(tmp_path, "b", "adapter", (0.0, 1.0), "prerequisites/twin"),
        )
        from tests.steer.conftest import OBJECTIVES

        return PolicySet(tmp_path, records, OBJECTIVES)

    assert run().steer([0.5, 0.5], method="soup").shares == {
        "h": 0.5,
        "b": 0.5,
    }  # equal content is the same base
    tokenizer = tiny.fresh_tokenizer()
    tokenizer.add_tokens(["<new>"])
    tokenizer.save_pretrained(twin)
    with pytest.raises(UsageError, match="another reference tokenizer each"):
        run().steer([0.5, 0.5], method="soup")
    other = by_hand.reference()
    next(other.parameters()).data += 0.01
    by_hand.write_reference(twin, other)
    with pytest.raises(UsageError, match="another reference model each"):
        run().steer([0.5, 0.5], method="soup")


def test_scores_are_those_of_merged_weights(adapter_run):
    folders = [adapter_run.folder / "policies" / name for name in ("h", "b")]
    want = TransformersPolicy(by_hand.merged(folders, (0.7, 0.3)), tiny.tokenizer(), adapter_run.objectives)
    got = adapter_run.steer([0.7, 0.3], method="soup")
    np.testing.assert_allclose(got.logps(PROMPTS, REPLIES), want.logps(PROMPTS, REPLIES), rtol=1e-6)
    assert got.generate(PROMPTS, temperature=0, max_new_tokens=12) == want.generate(
        PROMPTS, temperature=0, max_new_tokens=12
    )


def test_thirty_two_requests_with_thirty_two_weights_are_each_as_alone(adapter_run):
    policy = adapter_run.steer([0.5, 0.5], method="soup", among="all")
    rows = [[w, 1 - w] for w in np.linspace(0, 1, 32)]
    prompts = [PROMPTS[i % len(PROMPTS)] for i in range(32)]
    greedy = Sampling(max_new_tokens=6, temperature=0.0)
    together = policy.replies(prompts, greedy, weights=rows)
    alone = [policy.replies([p], greedy, weights=w)[0] for p, w in zip(prompts, rows)]
    assert [r.ids.tolist() for r in together] == [r.ids.tolist() for r in alone]
    for one, other in zip(together, alone):
        np.testing.assert_allclose(one.logps, other.logps, rtol=1e-5, atol=2e-6)
