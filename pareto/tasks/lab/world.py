"""The lab's world: prompts, responses, true rewards. Everything is enumerable and follows from one seed.

A prompt is topic x situation x audience; a response picks one of `choices` phrases in each of `slots` slots. The true
reward of objective k is a sum of tables over the prompt x = (topic, situation, audience) and the choices c:

    r_k(x, c) = scale * standardise( sum_s  A_k[s, c_s] + T_k[topic, s, c_s] + S_k[situation, s, c_s]
                                         + U_k[audience, s, c_s] + B_k[s, c_s, c_{s+1}] )

so that it depends on the prompt, has interactions between neighbouring slots, and splits into one reward per slot
(B belongs to the later slot). Held-out prompts are combinations of factors that never occur in training.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from pareto import rng
from pareto.errors import ConfigError
from pareto.tasks.lab.phrases import AUDIENCES, SITUATIONS, TOPICS

SHARES = {"choice": 0.35, "topic": 0.15, "situation": 0.1, "audience": 0.15, "neighbours": 0.25}
"""Share of the reward's variance that each kind of table carries before standardising."""


@dataclass(frozen=True)
class World:
    """A fully enumerated problem.

    Args:
        prompts: [P, 3] int64, (topic, situation, audience) of every prompt, training prompts first.
        n_train: how many of them are trained on.
        responses: [Y, slots] int64, every combination of choices, in lexicographic order.
        unary: [m, P, slots, choices] float64, reward tables that depend on the prompt and one slot.
        neighbours: [m, slots - 1, choices, choices] float64, reward tables of neighbouring slots.
        corpus_unary, corpus_neighbours: [P, slots, choices] and [slots - 1, choices, choices], logits of the
            distribution that the reference model's corpus is drawn from.
        importance: [P, m] on the simplex, how much each objective matters to each prompt.
        tastes: [G, m] on the simplex, how much it matters to each group of users.
    """

    prompts: np.ndarray
    n_train: int
    responses: np.ndarray
    unary: np.ndarray
    neighbours: np.ndarray
    corpus_unary: np.ndarray
    corpus_neighbours: np.ndarray
    importance: np.ndarray
    tastes: np.ndarray

    @property
    def n_prompts(self) -> int:
        """P."""
        return len(self.prompts)

    @property
    def m(self) -> int:
        """Number of objectives."""
        return self.unary.shape[0]

    def split(self, name: str) -> np.ndarray:
        """Prompt indices of "selection" (trained on) or "heldout"."""
        return np.arange(self.n_train) if name == "selection" else np.arange(self.n_train, self.n_prompts)

    def rewards_by_slot(self, prompt: int) -> np.ndarray:
        """[m, Y, slots]: the part of each response's reward that each slot adds; sums to `rewards`."""
        slots = np.arange(self.responses.shape[1])
        parts = self.unary[:, prompt, slots, self.responses]
        parts[:, :, 1:] += self.neighbours[:, slots[:-1], self.responses[:, :-1], self.responses[:, 1:]]
        return parts

    def rewards(self) -> np.ndarray:
        """[m, P, Y] float64: true reward of every response to every prompt."""
        return np.stack([self.rewards_by_slot(p).sum(-1) for p in range(self.n_prompts)], axis=1)

    def corpus_logps(self, prompts: np.ndarray) -> np.ndarray:
        """[len(prompts), Y]: log-probabilities under the distribution the SFT corpus is drawn from."""
        slots = np.arange(self.responses.shape[1])
        total = np.zeros((len(prompts), len(self.responses)))
        for s in slots:
            logits = self.corpus_unary[prompts, s]  # [p, C]
            if s == 0:
                total += _log_softmax(logits)[:, self.responses[:, 0]]
            else:
                joint = _log_softmax(logits[:, None, :] + self.corpus_neighbours[s - 1])  # [p, previous, C]
                total += joint[:, self.responses[:, s - 1], self.responses[:, s]]
        return total


def make_world(
    *,
    seed: int,
    m: int,
    n_prompts: int,
    heldout: int,
    slots: int,
    choices: int,
    conflict: float,
    reward_scale: float,
    groups: int = 0,
    planted_importance: bool = False,
) -> World:
    """Draw a world.

    `conflict` c gives every pair of objectives the table correlation -c / (m - 1): 0 independent, 1 zero-sum. Planted
    importance depends on situation and audience; tastes are drawn per group, far apart for the first m groups.
    """
    draw = rng.generator("lab", seed, "world")
    prompts = _draw_prompts(draw, n_prompts, heldout)
    factors = {
        "choice": np.zeros(n_prompts, int),
        "topic": prompts[:, 0],
        "situation": prompts[:, 1],
        "audience": prompts[:, 2],
    }
    mixing = _conflict_mixing(m, conflict)

    unary = np.zeros((m, n_prompts, slots, choices))
    for name, levels in factors.items():
        table = np.einsum(
            "kj,j...->k...", mixing, draw.standard_normal((m, levels.max() + 1, slots, choices))
        )
        unary += np.sqrt(SHARES[name]) * table[:, levels]
    pairs = np.einsum("kj,j...->k...", mixing, draw.standard_normal((m, slots - 1, choices, choices)))
    neighbours = np.sqrt(SHARES["neighbours"] * slots / max(slots - 1, 1)) * pairs

    corpus_unary, corpus_neighbours = _draw_corpus(seed, prompts, slots, choices)
    responses = np.array(np.unravel_index(np.arange(choices**slots), (choices,) * slots)).T
    n_train = n_prompts - heldout
    beliefs = _draw_importance(seed, prompts, m, planted_importance), _draw_tastes(seed, m, groups)
    raw = World(prompts, n_train, responses, unary, neighbours, corpus_unary, corpus_neighbours, *beliefs)

    # Standardise each objective under the corpus, so that every seed needs a comparable KL budget.
    p = np.exp(raw.corpus_logps(np.arange(n_prompts)))
    r = raw.rewards()
    mean = (p * r).sum(-1)
    std = np.sqrt((p * (r - mean[..., None]) ** 2).sum(-1).mean(-1))
    factor = (reward_scale / std)[:, None, None, None]
    unary = (unary - mean[:, :, None, None] / slots) * factor
    return replace(raw, unary=unary, neighbours=neighbours * factor)


def _draw_prompts(draw: np.random.Generator, n_prompts: int, heldout: int) -> np.ndarray:
    """[n_prompts, 3] distinct combinations; every factor level occurs among the training ones."""
    per_topic = len(SITUATIONS) * len(AUDIENCES)
    n_topics = min(
        len(TOPICS), -(-4 * n_prompts // (3 * per_topic))
    )  # prompts cover about three quarters of the combinations
    shape = (n_topics, len(SITUATIONS), len(AUDIENCES))
    for _ in range(1000):
        chosen = draw.permutation(n_topics * per_topic)[:n_prompts]
        prompts = np.array(np.unravel_index(chosen, shape)).T
        train = prompts[: n_prompts - heldout]
        if all(len(np.unique(train[:, f])) == shape[f] for f in range(3)):
            return prompts
    raise ConfigError(
        f"{n_prompts - heldout} training prompts cannot show all {shape} levels of topic, situation and audience; use more prompts"
    )


def _draw_corpus(seed: int, prompts: np.ndarray, slots: int, choices: int) -> tuple[np.ndarray, np.ndarray]:
    draw = rng.generator("lab", seed, "corpus tables")
    everywhere = 0.5 * draw.standard_normal((slots, choices))
    by_topic = 0.5 * draw.standard_normal((len(TOPICS), slots, choices))
    by_audience = 0.3 * draw.standard_normal((len(AUDIENCES), slots, choices))
    return everywhere + by_topic[prompts[:, 0]] + by_audience[prompts[:, 2]], 0.5 * draw.standard_normal(
        (slots - 1, choices, choices)
    )


def _draw_importance(seed: int, prompts: np.ndarray, m: int, planted: bool) -> np.ndarray:
    if not planted:
        return np.full((len(prompts), m), 1.0 / m)
    draw = rng.generator("lab", seed, "importance")
    logits = (
        draw.standard_normal((len(SITUATIONS), m))[prompts[:, 1]]
        + draw.standard_normal((len(AUDIENCES), m))[prompts[:, 2]]
    )
    return np.exp(_log_softmax(logits))


def _draw_tastes(seed: int, m: int, groups: int) -> np.ndarray:
    """[G, m]: group g cares most for objective g mod m; one indifferent group where there are none."""
    if not groups:
        return np.full((1, m), 1.0 / m)
    draw = rng.generator("lab", seed, "tastes")
    return 0.8 * np.eye(m)[np.arange(groups) % m] + 0.2 * draw.dirichlet(np.ones(m), size=groups)


def _conflict_mixing(m: int, conflict: float) -> np.ndarray:
    """[m, m] matrix L with L L^T = 1 on the diagonal and -conflict / (m - 1) off it."""
    if m == 1:
        return np.eye(1)
    correlation = np.full((m, m), -conflict / (m - 1))
    np.fill_diagonal(correlation, 1.0)
    values, vectors = np.linalg.eigh(correlation)
    return vectors * np.sqrt(np.clip(values, 0.0, None)) @ vectors.T


def _log_softmax(logits: np.ndarray) -> np.ndarray:
    return logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
