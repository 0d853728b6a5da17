"""`pareto verify`: a run folder is whole, unchanged, and says nothing its values do not bear out."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator
from pathlib import Path
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
    from pareto.policy_set import from_json
    from pareto.state import manifest
    from pareto.state.run_files import read_json
    from pareto.study.audit import store_problems

    folder = Path(args.folder)
    if not folder.is_dir():
        raise ArtifactError(f"expected a run folder; there is none at {folder}")
    problems = manifest.verify(folder)
    content, checked = None, ""
    try:
        content = read_json(folder, "front.json")
        loaded = from_json(folder, content)
        problems += [*_unsafe(loaded), *_disagreements(loaded)]
        checked = f"{len(loaded)} policies, {len(loaded.indicators)} indicators"
    except ArtifactError as error:
        problems.append(str(error))
    problems += store_problems(folder, content if checked else None)
    if problems:
        raise UsageError(f"{len(problems)} problems in {folder}\n" + "\n".join(problems))
    print(f"{folder}: whole and consistent ({checked})")
    return 0


def _unsafe(run: PolicySet) -> Iterator[str]:
    """What would be refused where it is used: pickles, tensors that are not sound, a reference that brings code or links."""
    from pareto.models.reference_folder import reference_folder
    from pareto.state import tensor_file

    for path in sorted(p for p in run.folder.rglob("*") if p.is_file() and not p.is_symlink()):
        if tensor_file.is_pickled(path.name):
            yield f"{path} is pickled: reading it would run code; a run folder holds safetensors and JSON"
        yield from _reasons(tensor_file.check_all_tensors, [path])
    standing = [record for record in run if "reference" in (record.facts.get("needs") or {})]
    yield from dict.fromkeys(
        reason for record in standing for reason in _reasons(reference_folder, run, record)
    )


def _reasons(check: Callable[..., Any], *arguments: Any) -> Iterator[str]:
    try:
        check(*arguments)
    except UsageError as error:
        yield str(error)


def _disagreements(run: PolicySet) -> Iterator[str]:
    """What front.json states and its values do not give."""
    import warnings

    from pareto import front

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", front.OutsideReferenceWarning)  # compared as a number
        for name, stated, true in _statements(run):
            if not _same(stated, true):
                yield f"{run.folder}/front.json: {name} is stated as {stated}; the values give {true}"


def _statements(run: PolicySet) -> Iterator[tuple[str, Any, float]]:
    """(what, the number stated, the number computed again) of everything that can be computed again."""
    import numpy as np

    from pareto import front
    from pareto.study.layout import RunFolder
    from pareto.study.scores import read_scores

    if not len(run):
        return
    values, directions = run.values, [o.direction for o in run.objectives]
    names = [name for name in front.INDICATORS.names() if name in run.indicators]
    truth = front.indicators(values, ref_point=run.ref_point, directions=directions, names=names)
    for name in sorted(set(truth) & set(run.indicators)):
        yield name, run.indicators[name], truth[name]
    selection = [r.facts["selection"]["values"] for r in run if r.facts.get("selection")]
    if run.ref_point is not None and "hypervolume_selection" in run.indicators and len(selection) == len(run):
        chosen = np.array([run.objectives.vector(row) for row in selection])
        true = front.hypervolume(chosen, run.ref_point, directions=directions)
        yield "hypervolume_selection", run.indicators["hypervolume_selection"], true
    for record, flag in zip(run, front.non_dominated(values, directions)):
        if "non_dominated" in record.facts:
            yield f"non_dominated of {record.id}", record.facts["non_dominated"], bool(flag)
    if run.ref_point is not None:
        for record, share in zip(run, front.hypervolume_contributions(values, run.ref_point, directions)):
            if "hypervolume_contribution" in record.facts:
                yield (
                    f"hypervolume_contribution of {record.id}",
                    record.facts["hypervolume_contribution"],
                    float(share),
                )
    for record in run:
        path = RunFolder(run.folder).scores(record.id)
        if path.is_file():
            for name, mean in run.objectives.named(read_scores(path).heldout.mean(axis=0)).items():
                yield f"{name} of {record.id}", record.values[name], mean


def _same(stated: Any, true: float) -> bool:
    if stated is None:  # JSON has no infinity
        return not math.isfinite(true)
    return isinstance(stated, (int, float)) and math.isclose(stated, true, rel_tol=_TOLERANCE, abs_tol=1e-12)
