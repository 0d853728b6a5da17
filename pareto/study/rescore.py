"""Score the policies of a finished run again."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from pareto.errors import ArtifactError
from pareto.study import front_json
from pareto.study.committed import check_committed
from pareto.study.config import StudyConfig, load_stored_study
from pareto.study.finish import scored_policies
from pareto.study.layout import RunFolder
from pareto.study.machine import pin_threads
from pareto.study.rows import Row
from pareto.study.scores import SPLITS, check_scores
from pareto.study.store import Store


@dataclass(frozen=True)
class Rescored:
    """What scoring again found.

    Args:
        policies: records as in front.json, with the new values.
        quarantined: policies with scores that are not finite.
        indicators: of the new values, against the run's own reference point.
        changed: ids of policies whose new values differ from the stored ones of the same split.
    """

    policies: list[dict[str, Any]]
    quarantined: list[dict[str, str]]
    indicators: dict[str, Any]
    changed: list[str]


def rescore(
    folder: Path | str,
    split: str = "heldout",
    *,
    set: Iterable[str] = (),
    imports: Iterable[str] = (),
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Rescored:
    """Score every policy of a run again; the run folder is only read.

    Args:
        folder: a complete run folder.
        split: "heldout", or "selection".
        set: ``key=value`` settings of the task for this scoring alone, such as more units.
        imports: modules to import first.
        progress: called with (policies done, policies in all).

    Raises:
        ArtifactError: not a complete run, or a file that is not what its cell wrote.
        UsageError: settings that cannot be.
    """
    if split not in SPLITS:
        raise ArtifactError(f"split must be one of {', '.join(SPLITS)}; got {split!r}")
    run = RunFolder(Path(folder).absolute())
    if not run.store.is_file():
        raise ArtifactError(f"{run.root} holds no sweep that could be scored again; its values were imported")
    study = load_stored_study(run.config, set, imports)
    with Store(run.store) as store:
        rows, frozen = store.rows(), store.get("ref_point")
    check_committed(run, rows)
    pin_threads(study.engine.threads)
    found = scored_policies(run, rows)
    task_needs = _task_needs(study, run, rows)
    again, changed = [], []
    for i, scored in enumerate(found):
        new = _score(study, run, scored, split, task_needs)
        old = scored.scores.heldout if split == "heldout" else scored.scores.selection
        if new.scores.heldout.shape != old.shape or not np.array_equal(
            new.scores.heldout, old, equal_nan=True
        ):
            changed.append(str(scored.policy["id"]))
        again.append(new)
        progress(i + 1, len(found))
    objectives = study.task.objectives  # type: ignore[attr-defined]  # every task has objectives
    given = study.score.ref_point
    point = objectives.vector(given) if given is not None else (None if frozen is None else np.array(frozen))
    records, quarantined = front_json.policy_records(again, objectives, point)
    records = [{**record, "split": split} for record in records]
    figures = front_json.indicator_block(again, objectives, point)
    del figures["hypervolume_selection"]  # nothing of the other split was measured here
    return Rescored(records, quarantined, figures, changed)


def _task_needs(study: StudyConfig, run: RunFolder, rows: Iterable[Row]) -> dict[str, Path]:
    """Folders of the cells the task made; a task setting that would need other ones is refused."""
    homes = {row.cell.id: row.result["home"] for row in rows if row.result}
    needs = {}
    for name, cell in study.task.prerequisites().items():  # type: ignore[attr-defined]  # every task has them
        if cell.id not in homes:
            raise ArtifactError(
                f"{run.root} holds no {name!r} made with these task settings; scoring again can change units, not the task"
            )
        needs[name] = run.root / homes[cell.id]
    return needs


def _score(
    study: StudyConfig, run: RunFolder, scored: front_json.Scored, split: str, task_needs: dict[str, Path]
) -> front_json.Scored:
    task: Any = study.task
    policy = scored.policy
    path = run.policy(policy["id"])
    needs = {**task_needs, **{name: run.root / home for name, home in scored.needs.items()}}
    scores = task.score(path, policy["kind"], policy["weights"], split, needs)
    check_scores(scores, split, task.objectives, policy["id"])
    values, ids = np.asarray(scores.values, dtype=np.float64), np.asarray(scores.unit_ids).astype(np.str_)
    facts = {**scored.scores.facts, split: dict(scores.facts)}
    return replace(scored, scores=replace(scored.scores, heldout=values, heldout_ids=ids, facts=facts))
