"""Which texts to show: a few policies along the front, answering the same prompts."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pareto.front import non_dominated
from pareto.objectives import Objectives
from pareto.report.tree import PolicyRow, Reply, SampleRow

POLICIES = 5
PROMPTS = 4
CHARACTERS = 1200


def along_the_front(objectives: Objectives, policies: Sequence[PolicyRow], most: int) -> list[PolicyRow]:
    """A few policies of the first seed that show what its front offers, from one end to the other.

    Two objectives: evenly spaced from one end of the front to the other. More: the best policy of each objective,
    then the one whose worst objective, scaled to the front's range, is best.
    """
    first_seed = min((p.seed or 0 for p in policies), default=0)
    one_seed = [p for p in policies if (p.seed or 0) == first_seed]
    if not one_seed:
        return []
    oriented = objectives.orient([p.values for p in one_seed])
    best = non_dominated(oriented)  # among this seed's policies: other seeds may dominate all of them
    front = [p for p, on_front in zip(one_seed, best) if on_front]
    values = oriented[best]
    if values.shape[1] <= 2:
        order = np.argsort(-values[:, 0], kind="stable")
        steps = np.linspace(0, len(order) - 1, min(most, len(order))).round().astype(int)
        return [front[order[i]] for i in steps]
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    picks = [*values.argmax(axis=0)[: most - 1], scaled.min(axis=1).argmax()]
    return [front[i] for i in dict.fromkeys(int(i) for i in picks)]


def sample_rows(
    chosen: Sequence[PolicyRow], samples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[SampleRow]:
    """The first prompts that the chosen policies share, with each one's first reply.

    Where no prompt is shared by all, the prompts answered by most of them.
    """
    replies = {p.label: _first_replies(p.label, samples.get(p.id, ())) for p in chosen}
    answered = Counter(prompt for texts in replies.values() for prompt in texts)
    return [
        SampleRow(prompt, [texts[prompt] for texts in replies.values() if prompt in texts])
        for prompt, _ in answered.most_common(PROMPTS)
    ]


def _first_replies(label: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Reply]:
    replies: dict[str, Reply] = {}
    for row in rows:
        rewards = row.get("rewards")
        reply = Reply(label, _shorten(_reply(row)), dict(rewards) if isinstance(rewards, Mapping) else None)
        replies.setdefault(_shorten(_prompt(row)), reply)
    return replies


def _prompt(row: Mapping[str, Any]) -> str:
    prompt = row.get("prompt", row.get("unit_id", row.get("unit", "")))
    if isinstance(prompt, list):  # chat messages
        return "\n".join(str(m.get("content", "")) if isinstance(m, Mapping) else str(m) for m in prompt)
    return str(prompt)


def _reply(row: Mapping[str, Any]) -> str:
    if isinstance(row.get("response"), str):
        return row["response"]
    rest = {k: v for k, v in row.items() if k not in ("prompt", "unit", "unit_id", "rewards")}
    return json.dumps(rest, ensure_ascii=False)  # a trajectory


def _shorten(text: str) -> str:
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}\u2026"
