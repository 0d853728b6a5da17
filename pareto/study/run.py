"""Run a study into a folder; run it again there, and only what is missing is done."""

from __future__ import annotations

import importlib
import json
import os
import shutil
import socket
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.errors import ConfigError, UsageError
from pareto.state import atomic
from pareto.state.trackers import check_installed
from pareto.study import committed, engines
from pareto.study.config import StudyConfig, load_study
from pareto.study.controller import Controller, Notice
from pareto.study.engines import launched
from pareto.study.finish import freeze_ref_point, scored_policies, write_front
from pareto.study.folder import check_folder, check_same_study, clear_finished, is_current, only_sweep
from pareto.study.layout import RunFolder
from pareto.study.machine import pin_threads
from pareto.study.parts import config_file, note_part, read_parts
from pareto.study.plan import Plan, plan_study
from pareto.study.rounds import Round, in_rounds, next_rounds, store_rounds, stored_rounds, within
from pareto.study.rows import Row
from pareto.study.seal import check_seal, unseal
from pareto.study.store import Store

if TYPE_CHECKING:
    from pareto.policy_set import PolicySet


@dataclass(frozen=True)
class Outcome:
    """How a sweep ended.

    Args:
        folder: the run folder.
        front: the content of its front.json.
        n_done: cells of the plan that are done.
        n_new: those of them done by this call.
        n_kept: finished cells of earlier plans, which stay on disk but are not in the front.
    """

    folder: Path
    front: Mapping[str, Any]
    n_done: int
    n_new: int
    n_kept: int


def sweep(
    config: str | Path | Mapping[str, Any] | StudyConfig,
    out: str | Path | None = None,
    *,
    set: Iterable[str] = (),
    workers: int | None = None,
    imports: Iterable[str] = (),
    redo_damaged: bool = False,
) -> PolicySet:
    """Produce a policy set: what `pareto sweep` does.

    Running it again on the same folder resumes and does only what is missing; more weights, more seeds and other methods are
    welcome.

    Args:
        config: path of a YAML file, the same content as a mapping, or a resolved study.
        out: run folder; default ``runs/<study>``.
        set: ``key=value`` settings that change the config; not with a resolved study.
        workers: cells at the same time; 0 runs them in this process. Default: what the config says.
        imports: modules to import first, so that the tasks and methods they register can be named.
        redo_damaged: do cells again whose files are no longer what they wrote; else such a folder is refused.

    Returns:
        The policies that stand. Cells that failed are listed in its content.

    Raises:
        UsageError: a wrong config, a folder that holds something else or another study, or input so wrong that no policy
            could be made.
        MachineError: the folder cannot be written, or the disk is full.
    """
    study = resolve(config, set, imports)
    outcome = run_study(study, Path(out or default_folder(study)), workers=workers, redo_damaged=redo_damaged)
    return importlib.import_module("pareto.policy_set").load(outcome.folder)


def resolve(
    config: str | Path | Mapping[str, Any] | StudyConfig, set: Iterable[str] = (), imports: Iterable[str] = ()
) -> StudyConfig:
    """A study from whatever names one.

    Raises:
        ConfigError: a wrong config, or settings beside a resolved study.
    """
    if isinstance(config, StudyConfig):
        if list(set):
            raise ConfigError(
                "a resolved study takes no further settings; put them into its config or load it again"
            )
        return config
    return load_study(config, set, imports)


def default_folder(study: StudyConfig) -> Path:
    """Where a study goes when no folder is named."""
    return Path("runs") / study.study


def run_study(
    study: StudyConfig,
    folder: Path,
    *,
    workers: int | None = None,
    notify: Callable[[Notice], None] = lambda notice: None,
    stop: Callable[[], bool] = lambda: False,
    redo_damaged: bool = False,
) -> Outcome:
    """Do what is missing of a study and write its front.

    Of several processes that a launcher started the first one does it and the others take part in the training; their
    outcome holds the front and counts nothing.

    Args:
        study: the resolved config.
        folder: the run folder; made when missing.
        workers: cells at the same time; 0 runs them in this process; None takes the config's number.
        notify: told what happens.
        stop: asked again and again; True ends the sweep, resumable.
        redo_damaged: do cells again whose files are no longer what they wrote; else such a folder is refused.

    Raises:
        Interrupted: `stop` said so.
        UsageError, MachineError: see `sweep`.
    """
    workers = study.engine.workers if workers is None else workers
    engine = "inline" if workers == 0 else study.engine.kind
    engines.check_installed(engine)
    if launched.started() > 1 and engine != "launched":
        raise ConfigError(
            f"the sweep was started in {launched.started()} processes, and engine {engine!r} runs in one; start it once, or let "
            "them train together: --engine launched"
        )
    check_installed(study.engine.trackers)
    plan_study(study)  # what cannot be is refused before anything is written
    run = RunFolder(folder.absolute())
    if launched.follows():
        launched.follow(study)
        front = json.loads(run.front.read_text(encoding="utf-8"))
        return Outcome(run.root, front, 0, 0, 0)
    fresh = not run.root.exists()
    check_folder(run)
    with only_sweep(run), Store(run.store, create=True) as store:
        check_seal(store)
        check_same_study(store, study, run)
        if not redo_damaged:
            committed.check_committed(run, [*store.rows(), *store.rows(planned=False)])
        unseal(store)
        if redo_damaged:
            committed.redo_damaged(run, store)
        store.release()  # whoever held these is dead: this process alone has the folder
        atomic.remove_leftovers(run.root)
        owner = f"{socket.gethostname()}:{os.getpid()}"
        rounds = stored_rounds(study, store)
        plan = plan_rounds(study, store, rounds)
        clear_finished(run, store)
        before, new = _n_done(store), set[str]()

        def tell(notice: Notice) -> None:
            if notice.kind == "done" and notice.cell is not None:
                new.add(notice.cell.id)
            notify(notice)

        config = config_file(run, read_parts(store), study.method_name)
        if before < len(plan.cells) or not is_current(run, config, study):
            run.manifest.unlink(missing_ok=True)  # the run is open until its manifest is written again
            config.parent.mkdir(exist_ok=True)
            atomic.write_text(config, study.to_yaml())
        with Controller(
            study, run, store, plan, engine=engine, workers=workers, owner=owner, notify=tell, stop=stop
        ) as controller:
            while True:
                figures = {"total": len(plan.cells), "done": _n_done(store), "workers": workers}
                notify(Notice("plan", data=figures))
                controller.run_cells()
                more = _more_rounds(study, run, store, rounds, notify)
                if more is None:
                    break
                rounds = more
                store_rounds(study, store, rounds)
                plan = plan_rounds(study, store, rounds)
                controller.follow(plan)
            front = write_front(study, run, store, controller)
        rows = store.rows()
        clear_finished(run, store)
        done = _n_done(store)
        kept = sum(row.status == "done" for row in store.rows(planned=False))
    try:
        _raise_if_nothing_stands(front, rows)
    except UsageError:
        if fresh:
            shutil.rmtree(run.root)  # wrong input leaves nothing behind
        raise
    return Outcome(run.root, front, done, len(new), kept)


def plan_rounds(study: StudyConfig, store: Store, rounds: tuple[Round, ...]) -> Plan:
    """Make the rounds, as far as the study's size goes, the store's plan, beside those of other methods in the folder."""
    plan = plan_study(study, within(rounds, study.weights.n if len(rounds) > 1 else None))
    note_part(store, study, plan)
    return plan


def _n_done(store: Store) -> int:
    """Finished cells of the plan, those of other methods left out."""
    return sum(row.status == "done" for row in store.rows() if not row.foreign)


def _more_rounds(
    study: StudyConfig,
    run: RunFolder,
    store: Store,
    rounds: tuple[Round, ...],
    notify: Callable[[Notice], None],
) -> tuple[Round, ...] | None:
    """The rounds with one more step, from the scores that are there; None when the sweep is over."""
    if not in_rounds(study):
        return None
    rows = [row for row in store.rows() if not row.foreign]
    policies = scored_policies(run, rows)
    point, _ = freeze_ref_point(study, store, policies)
    notify(Notice("choosing"))
    pin_threads(study.engine.threads)
    return next_rounds(study, rounds, policies, scored_policies(run, rows, "candidate"), point)


def _raise_if_nothing_stands(front: Mapping[str, Any], rows: list[Row]) -> None:
    """Raise the first failure where it was the caller's input and nothing came of the study."""
    if front["policies"] or front["quarantined"]:
        return
    failures = [row.failure for row in rows if row.status == "failed" and row.failure]
    if failures and failures[0]["exit_code"] == UsageError.exit_code:
        raise UsageError(failures[0]["message"])
