"""The cell in which groups of users and their rewards are found; max-min and group methods stand on it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from pareto.align.group_features import Features, HiddenFeatures, projection
from pareto.align.preference_job import Reference
from pareto.cells import Cost, Fitted
from pareto.data.choices import Decisions, decisions, users_of
from pareto.models.user_groups import UserChoices, UserMixture, find_groups, fit_head
from pareto.rng import derive_seed
from pareto.state import atomic

FACTS, TENSORS = "groups.json", "groups.safetensors"

Calibration = Literal["z_scores", "gains", "levels", "tastes"]
"""How rewards of groups are made comparable.

A Bradley-Terry reward has no level of its own, and its unit is how sharply the group chooses. "gains" sets the mean over the
reference's replies to 0: what a group gains over the reference, in log-odds. "z_scores" divides that by the spread over the
reference's replies as well, so that a group that chooses half-heartedly counts as much. "levels" leaves rewards as they are,
which has a meaning only where features are rewards with a level; "tastes" divides each group's weights on such features by the
sum of their sizes: groups differ in what they care for and not in how sharply they choose, so that the unit of a small group, of
which few choices tell, does not blur who is worst off.
"""


@dataclass(frozen=True)
class GroupRewards:
    """What the cell leaves behind.

    Args:
        users: [H] codes of the users in the pairs.
        assigned: [H] int64, the group of each.
        prior: [K] shares of the groups.
        rewards: [n_responses, K] of the training responses, calibrated; NaN where features are.
        single: [n_responses] the one reward that fits all users' choices best, calibrated the same way.
        draw_prompt: [n] int64 ascending.
        draw_rewards: [n, K] of replies drawn from the reference.
        facts: the content of groups.json.
    """

    users: np.ndarray
    assigned: np.ndarray
    prior: np.ndarray
    rewards: np.ndarray
    single: np.ndarray
    draw_prompt: np.ndarray
    draw_rewards: np.ndarray
    facts: Mapping[str, Any]

    def of_pairs(self, user: np.ndarray) -> np.ndarray:
        """[n] int64, the group of the user of each pair."""
        return self.assigned[np.searchsorted(self.users, user)]


def find_user_groups(
    reference: Reference,
    features: Features,
    mixture: UserMixture,
    calibration: Calibration,
    draws: int,
    *,
    seed: int,
) -> Fitted:
    """Find the groups, calibrate their rewards on replies of the reference, and store both in the job's folder."""
    own = features.of_table(reference)
    known = np.asarray(np.isfinite(own).all(axis=1))
    made = decisions(reference.pairs)
    keep = known[made.chosen] & known[made.rejected]
    made = Decisions(made.rows[keep], made.chosen[keep], made.rejected[keep])
    users, user = users_of(reference.pairs, made.rows)
    onto = projection(own[known], features.components if isinstance(features, HiddenFeatures) else None)
    choices = UserChoices((own[made.chosen] - own[made.rejected]) @ onto, user, len(users))
    groups, tried = find_groups(choices, mixture, seed=derive_seed("user groups", seed))
    one = fit_head(choices.differences, np.ones(len(user)), mixture.ridge, np.zeros(onto.shape[1]))
    heads = onto @ np.vstack([groups.heads, one]).T  # [F, K + 1], the single reward last
    drawn = features.of_draws(reference, draws, derive_seed("group draws", seed) % 2**31)
    at_reference = drawn.features @ heads
    level, unit = calibrate(at_reference, drawn.prompt, heads, calibration)
    facts = {
        "n_groups": len(groups),
        "shares": groups.prior.tolist(),
        "users": np.bincount(groups.assigned, minlength=len(groups)).tolist(),
        "tried": [asdict(t) for t in tried],
        "emptied": groups.emptied,
        "rounds": len(groups.loglik),
        "loglik_nats": groups.loglik[-1],
        "calibration": {"kind": calibration, "level": level.tolist(), "unit": unit.tolist()},
        "group_of_user": {str(u): int(g) for u, g in zip(users, groups.assigned)},
    }
    folder = reference.context.folder
    atomic.write_json(folder / FACTS, facts)
    _write(
        folder,
        {
            "users": users,
            "assigned": groups.assigned,
            "responsibilities": groups.responsibilities,
            "prior": groups.prior,
            "heads": heads,
            "rewards": (own @ heads - level) / unit,
            "draw_prompt": drawn.prompt,
            "draw_rewards": (at_reference - level) / unit,
        },
    )
    return Fitted(cost=Cost(generated_tokens=drawn.tokens))


def calibrate(
    rewards: np.ndarray, prompt: np.ndarray, heads: np.ndarray, kind: Calibration
) -> tuple[np.ndarray, np.ndarray]:
    """Level and unit of every reward on the reference's replies.

    Args:
        rewards: [n, K] of the replies.
        prompt: [n] int64 ascending; every prompt counts alike.
        heads: [F, K] their weights on the features.
        kind: see `Calibration`.

    Returns:
        [K] level and [K] unit: (reward - level) / unit is calibrated. The unit is the spread within prompts, since rewards of
        different prompts are not comparable.
    """
    k = rewards.shape[1]
    if kind == "levels":
        return np.zeros(k), np.ones(k)
    if kind == "tastes":
        size = np.abs(heads).sum(axis=0)
        return np.zeros(k), np.where(size > 1e-9, size, 1.0)
    starts = np.flatnonzero(np.r_[True, np.diff(prompt) > 0])
    counts = np.diff(np.r_[starts, len(prompt)])
    means = np.add.reduceat(rewards, starts, axis=0) / counts[:, None]
    if kind == "gains":
        return means.mean(axis=0), np.ones(k)
    within = (rewards - np.repeat(means, counts, axis=0)) ** 2
    spread = np.sqrt((np.add.reduceat(within, starts, axis=0) / counts[:, None]).mean(axis=0))
    return means.mean(axis=0), np.where(spread > 1e-9, spread, 1.0)


def read_groups(folder: Path) -> GroupRewards:
    """What `find_user_groups` stored."""
    from safetensors.numpy import load_file

    t = load_file(folder / TENSORS)
    facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
    return GroupRewards(
        t["users"],
        t["assigned"],
        t["prior"],
        t["rewards"][:, :-1],
        t["rewards"][:, -1],
        t["draw_prompt"],
        t["draw_rewards"][:, :-1],
        facts,
    )


def tell_groups(groups: Path, policy: Path) -> None:
    """Say in a policy's folder who was found to belong where, so that a task can measure it group by group."""
    facts = json.loads((groups / FACTS).read_text(encoding="utf-8"))
    atomic.write_json(policy / "user_groups.json", {k: facts[k] for k in ("shares", "group_of_user")})


def _write(folder: Path, tensors: Mapping[str, np.ndarray]) -> None:
    from safetensors.numpy import save

    atomic.write_bytes(folder / TENSORS, save({k: np.ascontiguousarray(v) for k, v in tensors.items()}))
