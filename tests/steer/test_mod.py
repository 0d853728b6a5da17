"""Mixed next-token distributions against float64 arithmetic on each policy's own logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from pareto.data.encode import encode_prompts
from pareto.errors import SimplexError, UnknownNameError, UsageError
from pareto.models.generate import Sampling, draw_tokens
from pareto.policy_set import TextPolicy
from pareto.steer.rules import RULES
from tests.models import tiny

PROMPTS, REPLIES = ["the cat", "rain", ""], [" sat on a mat", " fell over old hills", " it"]
WEIGHTS = (0.7, 0.3)


@pytest.fixture(scope="module", params=["adapter", "model"])
def run(request):
    return request.getfixturevalue(f"{request.param}_run")


def by_definition(divergence, alpha, p, w, ref):
    """pi_ref (f')^-1(sum_k w_k f'(pi_k / pi_ref)), from f' and its inverse as they stand in a table of divergences."""
    x = p / ref
    slope, inverse = {
        "reverse_kl": (lambda x: np.log(x) + 1, lambda u: np.exp(u - 1)),
        "forward_kl": (lambda x: -1 / x, lambda u: -1 / u),
        "jsd": (lambda x: np.log(2 * x / (1 + x)), lambda u: 1 / (2 * np.exp(-u) - 1)),
        "alpha": (lambda x: (1 - x**-alpha) / alpha, lambda u: (1 - alpha * u) ** (-1 / alpha)),
    }[divergence]
    q = ref * inverse(sum(c * slope(one) for c, one in zip(w, x)))
    return q / q.sum(-1, keepdims=True)


DIVERGENCES = [("reverse_kl", None), ("forward_kl", None), ("jsd", None), ("alpha", 0.5), ("alpha", 3.0)]


def logps_of(run, divergence, alpha):
    """[B] of the replies, token by token and policy by policy."""
    models = [run.policy("h").model, run.policy("b").model, reference(run)]
    tokenizer, out = tiny.tokenizer(), []
    for prompt, reply in zip(encode_prompts(tokenizer, PROMPTS), REPLIES):
        tokens = [*tokenizer(reply, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id]
        with torch.no_grad():
            p = [
                m(input_ids=torch.tensor([prompt + tokens])).logits[0].double().softmax(-1).numpy()
                for m in models
            ]
        q = by_definition(divergence, alpha, np.stack(p[:2]), WEIGHTS, p[2])
        out.append(sum(np.log(q[len(prompt) - 1 + i, t]) for i, t in enumerate(tokens)))
    return out


def reference(run):
    from pareto.models.causal import load_causal_lm

    return load_causal_lm(run.folder / "prerequisites" / "base")[0]


@pytest.mark.parametrize(("divergence", "alpha"), DIVERGENCES)
def test_the_mixture_follows_from_the_divergence(run, divergence, alpha):
    options = {} if alpha is None else {"alpha": alpha}
    mixed = run.steer(WEIGHTS, method="mod", divergence=divergence, **options)
    assert isinstance(mixed, TextPolicy)
    got = mixed.logps(PROMPTS, REPLIES)
    np.testing.assert_allclose(got, logps_of(run, divergence, alpha), rtol=1e-5)
    for name, vertex in (("h", [1, 0]), ("b", [0, 1])):
        stored = run.policy(name)
        np.testing.assert_allclose(
            mixed.logps(PROMPTS, REPLIES, weights=vertex), stored.logps(PROMPTS, REPLIES), rtol=2e-6
        )
    replies = mixed.replies(PROMPTS, Sampling(max_new_tokens=5), weights=[[1, 0], WEIGHTS, [0, 1]], seed=3)
    for i, w in enumerate(([1, 0], WEIGHTS, [0, 1])):
        alone = mixed.replies(PROMPTS[i : i + 1], Sampling(max_new_tokens=5), weights=w, seed=3)[0]
        assert alone.text == replies[i].text
        np.testing.assert_allclose(alone.logps, replies[i].logps, atol=1e-4)


def test_decoding_with_a_cache_equals_whole_rows(run):
    """Rows that end early leave the batch: the cache of every policy must be cut alike."""
    mixed = run.steer(WEIGHTS, method="logits")
    prompts = encode_prompts(tiny.tokenizer(), [*tiny.PROMPTS, "a mat", "the dog"])
    replies: list[list[tuple[int, float]]] = [[] for _ in prompts]
    ends = frozenset(range(3, 300, 5))
    for drawn in draw_tokens(
        mixed.model,
        prompts,
        Sampling(max_new_tokens=12),
        ends=ends,
        pad=0,
        seed=1,
        coefficients=mixed.rows(None, len(prompts)),
    ):
        replies[drawn.row].append((drawn.id, drawn.logp))
    assert len({len(reply) for reply in replies}) > 3  # they end at different times
    for prompt, reply in zip(prompts, replies):
        ids = [*prompt, *(token for token, _ in reply)]
        with torch.no_grad(), mixed.model.at(torch.tensor(WEIGHTS, dtype=torch.float64)):
            out = mixed.model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
        want = [float(out[len(prompt) - 1 + i, t]) for i, (t, _) in enumerate(reply)]
        np.testing.assert_allclose([logp for _, logp in reply], want, atol=1e-4)


def test_streams_do_not_disturb_each_other(run):
    mixed, sampling = run.steer(WEIGHTS, method="mod"), Sampling(max_new_tokens=5)
    one = mixed.stream(["the cat"], sampling, seed=1, weights=[1, 0])
    pieces = [next(one)]
    other = "".join(p.text for p in mixed.stream(["rain"], sampling, seed=1))
    assert other == mixed.generate(["rain"], max_new_tokens=5, seed=1)[0]
    text = "".join(p.text for p in [*pieces, *one])
    assert text == mixed.generate(["the cat"], max_new_tokens=5, seed=1, weights=[1, 0])[0]


def test_prefixes_are_kept_where_one_model_holds_all_policies(adapter_run, model_run):
    mixed = adapter_run.steer(WEIGHTS, method="mod")
    cache, sampling = mixed.prefix_cache(block_tokens=2), Sampling(max_new_tokens=4)
    cold = mixed.replies(list(tiny.PROMPTS), sampling, cache=cache)
    misses = cache.misses
    warm = mixed.replies(list(tiny.PROMPTS), sampling, cache=cache)
    assert cache.misses == misses
    assert all(np.array_equal(a.logps, b.logps) for a, b in zip(cold, warm))
    mixed.replies(list(tiny.PROMPTS)[:1], sampling, cache=cache, weights=[1, 0])
    assert cache.misses > misses
    whole = model_run.steer(WEIGHTS, method="mod")
    with pytest.raises(UsageError, match="go without the cache"):
        whole.replies(["the cat sat"], sampling, cache=whole.prefix_cache())


@pytest.mark.parametrize("name", ["reverse_kl", "forward_kl", "jsd", "alpha"])
def test_what_a_policy_without_share_forbids_stays_possible(name):
    rule = RULES.get(name)()
    logps = torch.log_softmax(torch.tensor([[[1.0, 2.0, 3.0]], [[0.0, 0.0, 0.0]]]), -1)
    logps[1, 0, 2] = -torch.inf
    ref = torch.log_softmax(torch.tensor([[0.5, 0.1, 0.2]]), -1)
    alone = rule.mix(logps, torch.tensor([[1.0], [0.0]]), ref if rule.needs_reference else None).log_softmax(
        -1
    )
    torch.testing.assert_close(alone, logps[0])
    both = rule.mix(logps, torch.tensor([[0.5], [0.5]]), ref if rule.needs_reference else None)
    assert both[0, 2] == -torch.inf
    assert torch.isfinite(both[0, :2]).all()


def test_the_reference_has_the_rest_of_the_geometric_mean():
    """pi_ref^(1 - sum w) prod pi_k^w_k: at half the strength, half the log-ratio."""
    rule = RULES.get("reverse_kl")()
    logps = torch.log_softmax(torch.tensor([[[1.0, 2.0, 3.0]]]), -1)
    ref = torch.log_softmax(torch.tensor([[0.5, 0.1, 0.2]]), -1)
    got = rule.mix(logps, torch.tensor([[0.5]]), ref)
    torch.testing.assert_close(got - ref, 0.5 * (logps[0] - ref))


def test_wrong_requests(adapter_run):
    with pytest.raises(UnknownNameError, match="unknown mixing rule 'kl'"):
        adapter_run.steer(WEIGHTS, method="mod", divergence="kl")
    with pytest.raises(UsageError, match="does not take these options"):
        adapter_run.steer(WEIGHTS, method="mod", alpha=2)
    with pytest.raises(UsageError, match="alpha of an alpha-divergence must be > 0"):
        adapter_run.steer(WEIGHTS, method="mod", divergence="alpha", alpha=0)
    with pytest.raises(UsageError, match="no extrapolation"):
        adapter_run.steer([1.5, -0.5], method="mod", divergence="jsd", extrapolate=True)
    with pytest.raises(SimplexError, match="must be >= 0"):
        adapter_run.steer([1.5, -0.5], method="mod")
    out = adapter_run.steer([1.5, -0.5], method="mod", extrapolate=True)
    assert out.extrapolated
    assert np.isfinite(out.logps(PROMPTS, REPLIES)).all()
