"""The work of one job, wherever it runs: fit a cell and score its policies, or ask the task for the exact front.

Everything is written below the cell's scratch folder; the controller gives it its place. What is finished there survives a
kill: a fitted cell is only scored again.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.errors import ArtifactError, Interrupted
from pareto.state import atomic, manifest
from pareto.state.metrics import MetricLog
from pareto.state.trackers import Trackers
from pareto.study.config import StudyConfig
from pareto.study.layout import RunFolder, check_id
from pareto.study.machine import device, dtype, peaks, pin_threads, reset_peaks
from pareto.study.scores import SPLITS, check_scores, plain, scores_bytes
from pareto.tasks.protocol import Scores

_REFUSED_SUFFIXES = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib", ".dill")
_POLICY_SUFFIXES = (".safetensors", ".json")


@dataclass
class Reporter:
    """How work in progress talks to the controller, and hears that it should stop.

    Args:
        send: takes (done, total, figures); called a few times a second at most.
        every_s: least time between two calls.
        stopped: set from outside; the next report raises `Interrupted`.
    """

    send: Callable[[int, int, Mapping[str, float]], None] = lambda done, total, figures: None
    every_s: float = 0.2
    stopped: bool = False
    _last_s: float = field(default=-1e9, repr=False)

    def begin(self, send: Callable[[int, int, Mapping[str, float]], None]) -> None:
        """Start a job: its first report always goes out, because it says where the work resumed."""
        self.send = send
        self._last_s = -1e9

    def progress(self, done: int, total: int, figures: Mapping[str, float]) -> None:
        """Pass on how far a cell is; cumulative "tokens" or "env_steps" among the figures count its cost."""
        self.check()
        now = time.monotonic()
        if now - self._last_s >= self.every_s or done >= total:
            self._last_s = now
            plain = {k: float(v) for k, v in figures.items()}
            self.send(int(done), int(total), {k: v for k, v in plain.items() if np.isfinite(v)})

    def check(self) -> None:
        """Raise where a stop was asked for.

        Raises:
            Interrupted: it was.
        """
        if self.stopped:
            raise Interrupted("stopped on request; run the same command again to resume")


def do_job(study: StudyConfig, run: RunFolder, job: Mapping[str, Any], reporter: Reporter) -> dict[str, Any]:
    """Do one job and return its result as JSON values.

    Args:
        study: the resolved config.
        run: the run folder; only scratch space in it is written.
        job: {"kind": "cell", "cell": ..., "needs": name -> folder, "task_needs": ...} or {"kind": "exact", ...}.
        reporter: progress out, stop in.
    """
    pin_threads(study.engine.threads)
    return _JOBS[job["kind"]](study, run, job, reporter)


def _cell_job(
    study: StudyConfig, run: RunFolder, job: Mapping[str, Any], reporter: Reporter
) -> dict[str, Any]:
    cell = Cell.from_json(job["cell"])
    needs = {name: Path(path) for name, path in job["needs"].items()}
    task_needs = {name: Path(path) for name, path in job["task_needs"].items()}
    scratch = run.scratch(cell.id)
    scratch.mkdir(parents=True, exist_ok=True)
    start = time.monotonic()
    with _alone(scratch):
        reset_peaks()
        fitted = _fit(study, cell, needs, scratch, reporter)
        files = _below(manifest.read(scratch / "fitted"), "files/")
        cost = fitted.cost
        policies = []
        if cell.role != "prerequisite":
            for policy in fitted.policies:
                record, scored = _score(study, policy, files, {**task_needs, **needs}, scratch, reporter)
                policies.append(record)
                cost = cost + scored
        rss, gpu = peaks()
    cost = replace(
        cost, wall_s=time.monotonic() - start, peak_rss_mb=max(cost.peak_rss_mb, rss), peak_gpu_mb=gpu
    )
    rest = _rest(run, cell, files, policies)
    return {"home": _home(cell, policies), "policies": policies, "files": rest, "cost": asdict(cost)}


def trains(run: RunFolder, job: Mapping[str, Any]) -> bool:
    """Whether a job will fit a cell, and not only score what an attempt before left fitted."""
    if job["kind"] != "cell":
        return False
    done = run.scratch(Cell.from_json(job["cell"]).id) / "fitted"
    return not done.is_dir() or bool(manifest.verify(done))


def take_part(study: StudyConfig, job: Mapping[str, Any], folder: Path) -> None:
    """Do the training of a job beside the process that does the job; nothing is reported or kept.

    Args:
        study: the resolved config.
        job: as for `do_job`.
        folder: an empty one, for what the fit writes.
    """
    cell = Cell.from_json(job["cell"])
    scratch = RunFolder(folder).scratch(cell.id)
    scratch.mkdir(parents=True)
    _fit(study, cell, {name: Path(path) for name, path in job["needs"].items()}, scratch, Reporter())


def _exact_job(
    study: StudyConfig, run: RunFolder, job: Mapping[str, Any], reporter: Reporter
) -> dict[str, Any]:
    task: Any = study.task
    needs = {name: Path(path) for name, path in job["task_needs"].items()}
    block = task.exact(job["policies"], np.array(job["ref_point"], dtype=np.float64), needs)
    return {"exact": None if block is None else plain(block)}


_JOBS = {"cell": _cell_job, "exact": _exact_job}


def _fit(
    study: StudyConfig, cell: Cell, needs: Mapping[str, Path], scratch: Path, reporter: Reporter
) -> Fitted:
    """Fit the cell into scratch/fitted, or take up what an attempt before left there complete."""
    done = scratch / "fitted"
    if done.is_dir() and not manifest.verify(done):
        fitted = _read_fitted(done)
        cost = fitted.cost
        steps = cost.env_steps + cost.selection_env_steps
        reporter.send(
            1, 1, {"tokens": float(cost.train_tokens + cost.generated_tokens), "env_steps": float(steps)}
        )
        return fitted
    atomic.remove_leftovers(scratch)
    task: Any = study.task
    method: Any = study.method
    trackers = Trackers(
        study.engine.trackers,
        project=study.study,
        run=cell.id,
        folder=RunFolder(scratch.parent.parent).trackers,
    )
    with atomic.staged_folder(done) as staging, MetricLog(scratch / "metrics.jsonl") as log, trackers:
        (staging / "files").mkdir()
        (scratch / "checkpoints").mkdir(exist_ok=True)

        def note(figures: Mapping[str, float]) -> None:
            reporter.check()
            log.append(figures)
            trackers.log(figures)

        where = device(study.engine.device)
        context = FitContext(
            folder=staging / "files",
            scratch=scratch / "checkpoints",
            needs=needs,
            progress=reporter.progress,
            log=note,
            device=where,
            dtype=dtype(study.engine.dtype, where),
        )
        if cell.maker == "task":
            name = next(name for name, own in task.prerequisites().items() if own.id == cell.id)
            fitted = task.build(name, cell, context)
        else:
            fitted = method.train(cell, task, context)
        atomic.write_json(
            staging / "fitted.json", _fitted_json(cell, fitted, context.folder, scratch.parent.parent)
        )
        manifest.write(staging)
    return _read_fitted(done)


def _fitted_json(cell: Cell, fitted: Fitted, folder: Path, root: Path) -> dict[str, Any]:
    """What a fit call returned, with every path relative to its folder, after checking it."""
    if cell.role != "prerequisite" and not fitted.policies:
        raise ArtifactError(f"cell {cell.id} must make at least one policy; it made none")
    files = manifest.names(folder)
    for name in files:
        if name.endswith(_REFUSED_SUFFIXES):
            raise ArtifactError(
                f"cell {cell.id} wrote {name}; no pickled files: write safetensors, JSON or npz without pickle"
            )
    rows, folders = [], []
    for policy in fitted.policies:
        relative = Path(policy.folder).relative_to(folder).as_posix()
        if not policy.id.startswith(cell.id):
            raise ArtifactError(
                f"the id of a policy must begin with its cell's id {cell.id}; got {policy.id!r}"
            )
        own = [n for n in files if relative == "." or n.startswith(f"{relative}/")]
        foreign = [n for n in own if not n.endswith(_POLICY_SUFFIXES)]
        if foreign or not own:
            raise ArtifactError(
                f"policy {policy.id} must hold {' and '.join(_POLICY_SUFFIXES)} files only, and one at least; "
                f"got {', '.join(foreign) or 'none'}"
            )
        for name in own:
            if name.endswith(".json") and os.fsencode(root) in (folder / name).read_bytes():
                raise ArtifactError(
                    f"{name} of policy {policy.id} holds the path of the run folder; a policy must not depend on where it lies"
                )
        folders.append(relative)
        rows.append({**asdict(policy), "id": check_id(policy.id), "folder": relative})
    if len(set(folders)) < len(folders) or ("." in folders and len(folders) > 1):
        raise ArtifactError(f"every policy of cell {cell.id} needs a folder of its own; got {folders}")
    return {"policies": plain(rows), "cost": asdict(fitted.cost)}


def _read_fitted(done: Path) -> Fitted:
    data = json.loads((done / "fitted.json").read_text(encoding="utf-8"))
    policies = (PolicyFiles(**{**row, "folder": done / "files" / row["folder"]}) for row in data["policies"])
    return Fitted(tuple(policies), Cost(**data["cost"]))


def _home(cell: Cell, policies: Sequence[Mapping[str, Any]]) -> str:
    """Where others find a cell's folder, relative to the run folder: the policy itself where it is the whole of it."""
    whole = [policy["id"] for policy in policies if policy["folder"] == "."]
    return f"policies/{whole[0]}" if whole else f"prerequisites/{cell.id}"


def _below(files: Mapping[str, str], folder: str) -> dict[str, str]:
    """The files whose path begins with a folder's, by the rest of their path."""
    return {n.removeprefix(folder): sha256 for n, sha256 in files.items() if n.startswith(folder)}


def _rest(
    run: RunFolder, cell: Cell, files: Mapping[str, str], policies: Sequence[Mapping[str, Any]]
) -> dict[str, str]:
    """Path in the run folder -> sha256 of what a cell leaves beside its policies, as `publish_cells` places it."""
    taken = tuple(_prefix(policy["folder"]) for policy in policies)
    place = run.prerequisite(cell.id).relative_to(run.root).as_posix()
    rest = {f"{place}/{n}": sha256 for n, sha256 in files.items() if not (taken and n.startswith(taken))}
    log = run.scratch(cell.id) / "metrics.jsonl"
    if log.exists():
        rest[run.metrics(cell.id).relative_to(run.root).as_posix()] = manifest.sha256(log)
    return rest


def _prefix(folder: str) -> str:
    return "" if folder == "." else f"{folder}/"


def _score(
    study: StudyConfig,
    policy: PolicyFiles,
    files: Mapping[str, str],
    needs: Mapping[str, Path],
    scratch: Path,
    reporter: Reporter,
) -> tuple[dict[str, Any], Cost]:
    """Score one policy on both splits and write its arrays and samples into scratch/scored.

    `files` are the digests of all that the cell fitted, by path in its folder.
    """
    task: Any = study.task
    scores: dict[str, Scores] = {}
    for split in SPLITS:
        reporter.check()
        scores[split] = task.score(policy.folder, policy.kind, policy.weights, split, needs)
        check_scores(scores[split], split, task.objectives, policy.id)
    reporter.check()
    samples = task.samples(policy.folder, policy.kind, needs, study.score.samples)
    scored = scratch / "scored"
    scored.mkdir(exist_ok=True)
    atomic.write_bytes(scored / f"{policy.id}.npz", scores_bytes(scores))
    lines = "".join(json.dumps(plain(row), ensure_ascii=False) + "\n" for row in samples)
    atomic.write_text(scored / f"{policy.id}.jsonl", lines)
    folder = policy.folder.relative_to(scratch / "fitted" / "files").as_posix()
    record = {
        "id": policy.id,
        "kind": policy.kind,
        "weights": None if policy.weights is None else dict(policy.weights),
        "weights_kind": policy.weights_kind,
        "extra": dict(policy.extra),
        "folder": folder,
        "files": _below(files, _prefix(folder)),
        "scores_sha256": manifest.sha256(scored / f"{policy.id}.npz"),
        "samples_sha256": manifest.sha256(scored / f"{policy.id}.jsonl"),
    }
    return plain(record), scores["selection"].cost + scores["heldout"].cost


@contextmanager
def _alone(scratch: Path) -> Iterator[None]:
    """Hold a cell's scratch folder: a worker whose controller died may still be leaving it."""
    with open(scratch / "lock", "wb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
