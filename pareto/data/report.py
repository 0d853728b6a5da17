"""What a preference data set holds, before anything is trained on it: counts, ties, gaps, conflicts, contradictions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from pareto.data.preferences import Preferences
from pareto.data.texts import Text, plain


@dataclass(frozen=True)
class ObjectiveReport:
    """Labels of one objective.

    Args:
        decided, ties, missing: pairs with a winner, with a tie, without a label; they add up to all pairs.
        longer_wins: share of decided pairs whose winner has more characters (pairs of equal length count half), or
            None without decided pairs. Near 0 or 1 the labels say little that length does not say.
        cycles: triples of responses to one prompt in which each beats the next.
        triples: triples of responses to one prompt with all three pairs decided.
    """

    name: str
    decided: int
    ties: int
    missing: int
    longer_wins: float | None
    cycles: int
    triples: int


@dataclass(frozen=True)
class ConflictReport:
    """Two objectives on the pairs that both speak of.

    Args:
        both_decided: pairs with a winner under both.
        disagree: share of them whose winners differ, or None without such pairs.
        correlation: Pearson correlation of the labels over pairs labelled under both (ties count as 0), or None where
            one of them is constant.
    """

    first: str
    second: str
    both_decided: int
    disagree: float | None
    correlation: float | None


@dataclass(frozen=True)
class DataReport:
    """Everything `pareto data check` says about the content.

    Args:
        prompts, responses, pairs: how many there are.
        near_equal_prompts: prompts that equal an earlier one but for case and white space.
        characters: part ("prompt", "response") -> (median, 95th percentile, largest).
        users, groups: how many are named.
        objectives: one report each. conflicts: one per pair of objectives.
        rated: scored responses. stepwise: responses labelled step by step.
    """

    prompts: int
    responses: int
    pairs: int
    near_equal_prompts: int
    characters: Mapping[str, tuple[int, int, int]]
    users: int
    groups: int
    rated: int
    stepwise: int
    objectives: Sequence[ObjectiveReport]
    conflicts: Sequence[ConflictReport]


def describe(data: Preferences) -> DataReport:
    """Count what there is to know about a data set."""
    lengths = np.array([len(plain(r)) for r in data.responses], dtype=np.int64)
    names = data.objectives.names
    return DataReport(
        prompts=len(data.prompts),
        responses=len(data.responses),
        pairs=len(data),
        near_equal_prompts=len(data.prompts) - len({normalised(p) for p in data.prompts}),
        characters={
            "prompt": _spread(np.array([len(plain(p)) for p in data.prompts], dtype=np.int64)),
            "response": _spread(lengths),
        },
        users=len(data.users),
        groups=len(data.groups),
        rated=len(data.rated),
        stepwise=len(data.stepwise),
        objectives=[_objective(data, name, data.labels[:, j], lengths) for j, name in enumerate(names)],
        conflicts=[
            _conflict(names[i], names[j], data.labels[:, i], data.labels[:, j])
            for i, j in itertools.combinations(range(len(names)), 2)
        ],
    )


def normalised(prompt: Text) -> str:
    """A prompt without case and repeated white space: prompts that share it are one prompt to a reader."""
    return " ".join(plain(prompt).casefold().split())


def count_cycles(
    prompt_of_pair: np.ndarray, a: np.ndarray, b: np.ndarray, label: np.ndarray
) -> tuple[int, int]:
    """(intransitive triples, triples with all three pairs decided).

    Several opinions on one pair are added up first. With W[i, j] = 1 where i beats j, a prompt has trace(W^3) / 3
    directed cycles and trace((W + W')^3) / 6 decided triples.

    Args:
        prompt_of_pair: [n] int64, the prompt of each pair.
        a: [n] int64, first response.
        b: [n] int64, second response.
        label: [n]; 1 where a wins, -1 where b does, 0 or NaN otherwise.
    """
    decided = np.flatnonzero(np.nan_to_num(label) != 0)
    order = decided[np.argsort(prompt_of_pair[decided], kind="stable")]
    starts = np.flatnonzero(np.diff(prompt_of_pair[order], prepend=-1))
    cycles = triples = 0
    for pairs in np.split(order, starts[1:]):
        if len(pairs) < 3:
            continue
        members, index = np.unique(np.concatenate([a[pairs], b[pairs]]), return_inverse=True)
        net = np.zeros((len(members), len(members)))
        np.add.at(net, (index[: len(pairs)], index[len(pairs) :]), label[pairs])
        wins = ((net - net.T) > 0).astype(np.float64)
        either = wins + wins.T
        cycles += round(np.trace(wins @ wins @ wins) / 3)
        triples += round(np.trace(either @ either @ either) / 6)
    return cycles, triples


def _objective(data: Preferences, name: str, label: np.ndarray, lengths: np.ndarray) -> ObjectiveReport:
    decided = np.nan_to_num(label) != 0
    longer = np.sign(lengths[data.a] - lengths[data.b])[decided] * np.sign(label[decided])
    cycles, triples = count_cycles(data.prompt_of_pair, data.a, data.b, label)
    return ObjectiveReport(
        name=name,
        decided=int(decided.sum()),
        ties=int((label == 0).sum()),
        missing=int(np.isnan(label).sum()),
        longer_wins=float((longer.mean() + 1) / 2) if decided.any() else None,
        cycles=cycles,
        triples=triples,
    )


def _conflict(first: str, second: str, x: np.ndarray, y: np.ndarray) -> ConflictReport:
    both = (np.nan_to_num(x) != 0) & (np.nan_to_num(y) != 0)
    known = ~np.isnan(x) & ~np.isnan(y)
    varies = known.any() and np.ptp(x[known]) > 0 and np.ptp(y[known]) > 0
    return ConflictReport(
        first=first,
        second=second,
        both_decided=int(both.sum()),
        disagree=float((x[both] != y[both]).mean()) if both.any() else None,
        correlation=float(np.corrcoef(x[known], y[known])[0, 1]) if varies else None,
    )


def _spread(lengths: np.ndarray) -> tuple[int, int, int]:
    if not len(lengths):
        return 0, 0, 0
    median, high = np.quantile(lengths, [0.5, 0.95])
    return round(median), round(high), int(lengths.max())
