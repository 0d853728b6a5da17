"""`pareto verify`: a run folder is whole, unchanged, and says nothing its values do not bear out."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from pareto.errors import ArtifactError, UsageError

if TYPE_CHECKING:
    from pareto.policy_set import PolicySet

HELP = "check every digest of a run folder, and that its indicators follow from its values"
EXAMPLES = "example:\n  pareto verify runs/demo"

_TOLERANCE = 1e-9


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="run folder")


def run(args: argparse.Namespace) -> int:
    from pathlib import Path

    from pareto.policy_set import from_json, read_json
    from pareto.state import manifest

    folder = Path(args.folder)
    if not folder.is_dir():
        raise ArtifactError(f"expected a run folder; there is none at {folder}")
    problems = manifest.verify(folder)
    try:
        loaded = from_json(folder, read_json(folder, "front.json"))
        problems += _disagreements(loaded)
        checked = f"{len(loaded)} policies, {len(loaded.indicators)} indicators"
    except ArtifactError as error:
        problems.append(str(error))
        checked = ""
    if problems:
        raise UsageError(f"{len(problems)} problems in {folder}\n" + "\n".join(problems))
    print(f"{folder}: whole and consistent ({checked})")
    return 0


def _disagreements(run: PolicySet) -> Iterator[str]:
    """What front.json states and its values do not give."""
    import warnings

    from pareto import front

    values, directions = run.values, [o.direction for o in run.objectives]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", front.OutsideReferenceWarning)  # compared below as a number
        truth = front.indicators(values, ref_point=run.ref_point, directions=directions)
        contributions = (
            [None] * len(run)
            if run.ref_point is None
            else front.hypervolume_contributions(values, run.ref_point, directions)
        )
    for name in sorted(set(truth) & set(run.indicators)):
        if not _same(run.indicators[name], truth[name]):
            yield f"{run.folder}/front.json: {name} is stated as {run.indicators[name]}; the values give {truth[name]!r}"
    flags = front.non_dominated(values, directions)
    for record, flag, contribution in zip(run, flags, contributions):
        stated = {"non_dominated": bool(flag), "hypervolume_contribution": contribution}
        for name, true in stated.items():
            if true is not None and name in record.facts and not _same(record.facts[name], true):
                yield f"{run.folder}/front.json: {name} of {record.id} is stated as {record.facts[name]}; the values give {true}"


def _same(stated: Any, true: float) -> bool:
    if stated is None:  # JSON has no infinity
        return not math.isfinite(true)
    return isinstance(stated, (int, float)) and math.isclose(stated, true, rel_tol=_TOLERANCE, abs_tol=1e-12)
