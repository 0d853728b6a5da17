"""What is exactly true on the lab: enumerated policies, optimal policies, values, divergences, fronts.

A policy is its log-probabilities on the enumerated responses, [P, Y], normalised over them (the mass outside is
reported). For weights w and regularisation beta the optimum of E[w.r] - beta KL(pi || pi_ref) is

    pi*(y | x) = pi_ref(y | x) exp(w.r(x, y) / beta) / Z(x).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from pareto import simplex
from pareto.front import hypervolume, hypervolume_with_mixtures, non_dominated


@torch.no_grad()
def enumerate_logps(
    model: Any, prompts: np.ndarray, choices: np.ndarray, eos: int, *, batch_prompts: int = 16
) -> tuple[np.ndarray, float]:
    """Log-probability of every response to every prompt, by walking the tree of phrases with a key-value cache.

    Args:
        model: causal model on its device.
        prompts: [P, L] int, token ids, equal lengths.
        choices: [S, C] int, the token of each choice in each slot.
        eos: end token; a response counts only when it ends.
        batch_prompts: prompts walked at once.

    Returns:
        [P, C^S] float64 log-probabilities normalised over the enumerated set (lexicographic order), and the
        probability, averaged over prompts, that a reply lies outside the set.
    """
    model.eval()
    device = next(model.parameters()).device
    slots, n_choices = choices.shape
    tokens = torch.from_numpy(choices.astype(np.int64)).to(device)
    rows = []
    for start in range(0, len(prompts), batch_prompts):
        ids = torch.from_numpy(prompts[start : start + batch_prompts].astype(np.int64)).to(device)
        b = len(ids)
        out = model(input_ids=ids, use_cache=True)
        total = torch.zeros(b, 1, dtype=torch.float64, device=device)
        for s in range(slots):
            logps = out.logits[:, -1].double().log_softmax(-1)[:, tokens[s]]  # [b * C^s, C]
            total = (total.view(-1, 1) + logps).view(b, -1)
            cache = out.past_key_values
            cache.batch_repeat_interleave(n_choices)
            step = tokens[s].repeat(b * n_choices**s)[:, None]
            out = model(input_ids=step, past_key_values=cache, use_cache=s + 1 < slots)
        total = total + out.logits[:, -1].double().log_softmax(-1)[:, eos].view(b, -1)
        rows.append(total.cpu().numpy())
    logps = np.concatenate(rows)
    mass = np.logaddexp.reduce(logps, axis=1, keepdims=True)
    return logps - mass, float(1.0 - np.exp(mass).mean())


def optimum(ref_logps: np.ndarray, rewards: np.ndarray, weights: np.ndarray, beta: float) -> np.ndarray:
    """[P, Y] log-probabilities of the optimal policy.

    Args:
        ref_logps: [P, Y] reference log-probabilities, normalised.
        rewards: [m, P, Y] true rewards.
        weights: [m] on the simplex.
        beta: > 0.
    """
    return tilt(ref_logps, np.tensordot(weights, rewards, axes=1) / beta)


def tilt(logps: np.ndarray, by: np.ndarray) -> np.ndarray:
    """[P, Y] log-probabilities of p(y) exp(by(y)) / Z."""
    z = logps + by
    return z - np.logaddexp.reduce(z, axis=-1, keepdims=True)


def values(logps: np.ndarray, rewards: np.ndarray) -> np.ndarray:
    """[P, m] expected reward per prompt of a policy [P, Y]."""
    return np.einsum("py,mpy->pm", np.exp(logps), rewards)


def kl(p: np.ndarray, q: np.ndarray) -> np.ndarray:
    """[P] KL(p || q) in nats per prompt of two policies [P, Y]."""
    return (np.exp(p) * (p - q)).sum(-1)


@dataclass(frozen=True)
class Standing:
    """How a trained policy stands to the exact optimum at its weights; means over prompts.

    Args:
        kl_nats: KL(pi || pi_ref).
        kl_to_exact_nats: KL(pi || pi*).
        optimality: share of the achievable regularised utility, 1 - KL(pi || pi*) / KL(pi_ref || pi*), from means.
    """

    kl_nats: float
    kl_to_exact_nats: float
    optimality: float


def standing(
    logps: np.ndarray, ref_logps: np.ndarray, rewards: np.ndarray, weights: np.ndarray, beta: float
) -> Standing:
    """Compare a policy [P, Y] with the reference and with the optimum at its weights."""
    best = optimum(ref_logps, rewards, weights, beta)
    away, reference_away = kl(logps, best).mean(), kl(ref_logps, best).mean()
    return Standing(float(kl(logps, ref_logps).mean()), float(away), float(1.0 - away / reference_away))


def beta_at_kl(ref_logps: np.ndarray, rewards: np.ndarray, weights: np.ndarray, mean_kl: float) -> float:
    """The beta at which the optima at `weights` [n, m] have the given mean KL to the reference, by bisection.

    A mean KL beyond what any beta reaches gives the smallest beta tried, 1e-3 of the reward range.
    """
    span = float(np.ptp(rewards))
    low, high = 1e-3 * span, 1e3 * span  # KL falls as beta grows
    for _ in range(60):
        middle = float(np.sqrt(low * high))
        reached = np.mean([kl(optimum(ref_logps, rewards, w, middle), ref_logps).mean() for w in weights])
        low, high = (middle, high) if reached > mean_kl else (low, middle)
    return float(np.sqrt(low * high))


def exact_front(ref_logps: np.ndarray, rewards: np.ndarray, weights: np.ndarray, beta: float) -> np.ndarray:
    """[n, m] mean values of the optima at weights [n, m]."""
    return np.stack([values(optimum(ref_logps, rewards, w, beta), rewards).mean(0) for w in weights])


def compare_fronts(
    trained: np.ndarray,
    weights: np.ndarray,
    mean_kl: float,
    ref_point: np.ndarray,
    ref_logps: np.ndarray,
    rewards: np.ndarray,
) -> dict[str, Any]:
    """Trained policies against exact ones of equal strength, as the `exact` block of front.json wants it.

    Args:
        trained: [n, m] mean values of the trained policies.
        weights: [n, m] their weights.
        mean_kl: mean KL of the trained policies to the reference on these prompts, nats.
        ref_point: [m].
        ref_logps: [P, Y] reference log-probabilities.
        rewards: [m, P, Y] true rewards.

    Returns:
        beta (equal strength), same_weights, front (dense, non-dominated), hypervolume of both, hypervolume_ratio,
        coverage, mixture_ratio.
    """
    beta = beta_at_kl(ref_logps, rewards, weights, mean_kl)
    same = exact_front(ref_logps, rewards, weights, beta)
    m = weights.shape[1]
    dense = exact_front(ref_logps, rewards, simplex.das_dennis(m, {2: 100, 3: 20, 4: 9}.get(m, 5)), beta)
    dense = dense[non_dominated(dense)]
    of_same, of_dense = hypervolume(same, ref_point), hypervolume(dense, ref_point)
    return {
        "beta": beta,
        "same_weights": same.tolist(),
        "front": dense.tolist(),
        "hypervolume": of_dense,
        "hypervolume_same_weights": of_same,
        "hypervolume_ratio": hypervolume(trained, ref_point) / of_same if of_same else None,
        "coverage": of_same / of_dense if of_dense else None,
        "mixture_ratio": hypervolume_with_mixtures(trained, ref_point) / of_dense if of_dense else None,
    }
