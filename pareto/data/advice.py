"""What a data report means for training: sentences that follow from its counts by stated bounds."""

from __future__ import annotations

from collections.abc import Iterator

from pareto.data.report import ConflictReport, DataReport, ObjectiveReport

ENOUGH = 20
"""Pairs below which a share says too little to speak of it."""
OPPOSED, AGREED = 0.9, 0.1
"""Shares of disagreement from which on objectives are called opposed or agreed."""
APART, SILENT, TIED, UNEQUAL, LENGTH = 0.1, 0.5, 0.3, 3.0, 0.7
"""Bounds of the other sentences: pairs in common, missing labels, ties, ratio of set sizes, wins of the longer response."""


def advice(report: DataReport) -> list[str]:
    """Sentences about a data set that change what one would train, the most telling first; none where nothing stands out.

    Args:
        report: from `pareto.data.report.describe`.

    Source: this suite. Bounds are round numbers, not results; why such a report comes first: a public set of truthful and
    informative answers had 3,252 pairs in conflict against 80 that agree.
    """
    if not report.pairs:
        return []
    found = [line for conflict in report.conflicts for line in _of_two(conflict, report)]
    found += [line for own in report.objectives for line in _of_one(own, report.pairs)]
    decided = [o.decided for o in report.objectives if o.decided]
    if len(decided) > 1 and max(decided) > UNEQUAL * min(decided):
        found.append(
            f"the objectives' sets differ in size ({min(decided)} to {max(decided)} pairs): mah_dpo goes through the smaller ones "
            "more often, modpo trains each policy on one objective's pairs"
        )
    return found


def _of_two(c: ConflictReport, report: DataReport) -> Iterator[str]:
    names = {o.name: o for o in report.objectives}
    fewer = min(names[c.first].decided, names[c.second].decided)
    if fewer and c.both_decided < APART * fewer:
        yield (
            f"{c.first} and {c.second} are labelled on different pairs ({c.both_decided} in common): how far they conflict "
            "cannot be seen here; modpo and mah_dpo need no common pair, scalarized_dpo learns from one label a pair"
        )
    if c.disagree is None or c.both_decided < ENOUGH:
        return
    if c.disagree >= OPPOSED:
        yield (
            f"{c.first} and {c.second} prefer opposite responses in {c.disagree:.0%} of the pairs: nearly every gain of one is "
            "a loss of the other, a single policy must choose; sweep weights, or let results choose them (weights: {kind: qlognehvi})"
        )
    elif c.disagree <= AGREED:
        yield (
            f"{c.first} and {c.second} agree on {1 - c.disagree:.0%} of the pairs: their front is short, few weight vectors "
            "show all of it"
        )


def _of_one(o: ObjectiveReport, pairs: int) -> Iterator[str]:
    if o.missing > SILENT * pairs:
        yield f"{o.name} is unknown for {o.missing / pairs:.0%} of the pairs; such pairs are left out of its own training only"
    if o.decided + o.ties >= ENOUGH and o.ties > TIED * (o.decided + o.ties):
        share = o.ties / (o.decided + o.ties)
        yield f"{o.name} has a tie in {share:.0%} of its labels, which teach nothing to losses of pairs; see whether a margin explains them"
    if o.longer_wins is not None and o.decided >= ENOUGH and max(o.longer_wins, 1 - o.longer_wins) > LENGTH:
        which, share = ("longer", o.longer_wins) if o.longer_wins > 0.5 else ("shorter", 1 - o.longer_wins)
        yield f"{o.name} goes to the {which} response in {share:.0%} of its pairs: compare with length alone before believing a policy"
