"""How the weights of a sweep were chosen, where that depended on results."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pareto.errors import ArtifactError
from pareto.objectives import Objectives
from pareto.report import wording
from pareto.report.markup import Markup, join
from pareto.report.parts import Column, note, table
from pareto.report.tree import RoundRow, RunReport


def round_rows(objectives: Objectives, rounds: Sequence[Mapping[str, Any]]) -> list[RoundRow]:
    """The rounds of front.json; what a round gained is told by the one after it.

    Raises:
        ArtifactError: a round without its parts, or with weights of other objectives.
    """
    try:
        return _rows(objectives, rounds)
    except (KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(
            f"front.json: rounds must be objects with weights, kept and facts; got {rounds!r:.80}"
        ) from error


def _rows(objectives: Objectives, rounds: Sequence[Mapping[str, Any]]) -> list[RoundRow]:
    after = [*(one["facts"] for one in rounds[1:]), {}]
    return [
        RoundRow(
            weights=[objectives.vector(w).tolist() for w in one["weights"]],
            kept=len(one["weights"] if one["kept"] is None else one["kept"]),
            gain=told.get("gain"),
            gain_se=told.get("gain_se"),
            certificate=one["facts"].get("certificate"),
            expected_gain=next(iter(one["facts"].get("expected_gain") or ()), None),
        )
        for one, told in zip(rounds, after)
    ]


def rounds_table(run: RunReport) -> Markup | None:
    """One row a round; None where all weights were known beforehand."""
    if not run.rounds:
        return None
    made: dict[tuple[float, ...], list[str]] = {}
    for policy in run.policies:
        if policy.weights is not None:
            made.setdefault(_key(policy.weights), []).append(f"#{policy.label}")
    policies = [[name for w in r.weights for name in made.get(_key(w), [])] for r in run.rounds]
    shown: list[Column] = [
        Column("Round", [str(i) for i in range(1, len(run.rounds) + 1)]),
        Column("Weights", [str(len(r.weights)) for r in run.rounds]),
        Column("Policies", [" ".join(names) or "none" for names in policies], number=False),
    ]
    if any(r.kept != len(r.weights) for r in run.rounds):
        shown.append(Column("Trained to the end", [str(r.kept) for r in run.rounds]))
    for title, figure in (
        ("Expected gain", "expected_gain"),
        ("Gain", "gain"),
        ("Its standard error", "gain_se"),
        ("Left to gain at most", "certificate"),
    ):
        values = [getattr(r, figure) for r in run.rounds]
        if any(v is not None for v in values):
            shown.append(Column(title, [wording.number(v) for v in values]))
    return join(
        [
            table("How the weights were chosen", shown, css="small"),
            note(
                "Gains are in hypervolume of the split that choices rest on, not of the values reported above. What is left to "
                "gain is in utility, before the round, and holds as far as every policy is the best one for its weights."
            ),
        ]
    )


def _key(weights: Sequence[float]) -> tuple[float, ...]:
    return tuple(round(w, 9) for w in weights)
