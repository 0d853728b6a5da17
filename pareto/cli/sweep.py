"""`pareto sweep`: produce a policy set, or what is missing of one."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.cli._numbers import share
from pareto.cli._study_arguments import add_offline_argument, add_study_arguments, add_trust_argument

if TYPE_CHECKING:
    from pareto.study.run import Outcome

HELP = "train and score a whole set of policies; the same command again resumes"
EXAMPLES = """examples:
  pareto sweep configs/demo.yaml --out runs/demo
  pareto sweep configs/demo.yaml --set weights.n=15 --set task.seed=11 --out runs/demo-11
  pareto sweep configs/demo.yaml --out runs/demo --dry-run
  pareto sweep configs/demo.yaml --out runs/demo --status"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG", help="YAML file of a study")
    parser.add_argument("--out", metavar="DIR", help="run folder (default: runs/<study>)")
    add_study_arguments(parser)
    parser.add_argument(
        "--workers", type=_count, metavar="N", help="cells at the same time; 0 runs them in this process"
    )
    parser.add_argument("--engine", choices=("local", "ray", "launched"), help="where cells run")
    parser.add_argument(
        "--dry-run", action="store_true", help="show the plan and what it will take, and do nothing"
    )
    parser.add_argument("--status", action="store_true", help="show where the sweep in the folder stands")
    parser.add_argument(
        "--on-bad", choices=("stop", "skip"), help="what to do about a data row that cannot be read"
    )
    parser.add_argument(
        "--max-bad", type=share, metavar="P", help="largest share of skipped rows, such as 0.1%% or 0.001"
    )
    parser.add_argument(
        "--redo-damaged",
        action="store_true",
        help="do cells again whose files are no longer what they wrote; without it such a folder is refused",
    )
    add_offline_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    from pareto.study.run import default_folder, resolve, run_study

    study = resolve(args.config, _overrides(args), args.imports)
    folder = Path(args.out) if args.out else default_folder(study)
    if args.dry_run:
        from pareto.cli._plan import show_plan

        return show_plan(study, folder, study.engine.workers if args.workers != 0 else 1)
    if args.status:
        return _show_status(folder)
    from pareto.cli._progress import watcher
    from pareto.study.engines.launched import follows

    if follows():  # the first process speaks for all
        run_study(study, folder, workers=args.workers)
        return 0
    with _stop_signals() as stop, watcher() as watch:
        outcome = run_study(
            study, folder, workers=args.workers, notify=watch, stop=stop, redo_damaged=args.redo_damaged
        )
    for line in summary(outcome):
        print(line)
    from pareto.report import write_report

    print(f"report: {write_report(outcome.folder)}")
    return 1 if outcome.front["failed"] or outcome.front["quarantined"] else 0


def summary(outcome: Outcome) -> list[str]:
    """The result of a sweep in a few lines."""
    front = outcome.front
    lines = [
        f"{outcome.folder}: {len(front['policies'])} policies; {outcome.n_new} of {outcome.n_done} cells new"
    ]
    if outcome.n_kept:
        lines.append(f"  {outcome.n_kept} cells of earlier weights or seeds stay on disk, outside the front")
    lines += [f"  quarantined {q['id']}: {q['why']}" for q in front["quarantined"]]
    lines += [f"  failed {f['cell']}: {f['why']}" for f in front["failed"]]
    figures = front["indicators"]
    if figures["hypervolume"] is not None:
        point = ", ".join(f"{o['name']}={x:.4g}" for o, x in zip(front["objectives"], front["ref_point"]))
        interval = figures["hypervolume_ci95"]
        span = f" [{interval[0]:.4g}, {interval[1]:.4g}]" if interval else ""
        lines.append(
            f"hypervolume {figures['hypervolume']:.4g}{span} against ref_point {point} ({front['ref_point_rule']})"
        )
        if figures.get("hypervolume_selection") is not None:
            lines.append(f"  {figures['hypervolume_selection']:.4g} on the units that choices rest on")
    for name, own in front.get("methods", {}).items():
        if own["indicators"]["hypervolume"] is not None:
            lines.append(f"  {own['indicators']['hypervolume']:.4g} by {name} alone")
    told = [r["facts"] for r in front.get("rounds", ()) if r["facts"].get("certificate") is not None]
    if told:
        lines.append(
            f"no weights are left at which a policy could gain more than {told[-1]['certificate']:.4g}"
        )
    exact = front["exact"] or {}
    shown = [
        f"{name} {exact[name]:.3f}"
        for name in ("optimality", "optimality_heldout", "hypervolume_ratio", "coverage", "mixture_ratio")
        if exact.get(name) is not None
    ]
    return [*lines, ", ".join(shown)] if shown else lines


def _show_status(folder: Path) -> int:
    from pareto.cli._progress import time_text
    from pareto.study.status import sweep_status

    status = sweep_status(folder)
    counts = ", ".join(f"{n} {name}" for name, n in status.counts.items() if n)
    print(f"{folder}: {counts}; {'complete' if status.complete else 'not complete'}")
    for cell in status.running:
        print(
            f"  running {cell.id} {cell.weights}: attempt {cell.attempt}, last heard {time_text(cell.silent_s)} ago"
        )
    for failure in status.failed:
        print(f"  failed {failure['cell']}: {failure['why']}")
    cost = status.cost
    print(
        f"  so far {time_text(cost.wall_s)} of work, {cost.train_tokens:,} training tokens, "
        f"{cost.env_steps:,} environment steps; wasted {cost.wasted_tokens:,} tokens, {cost.wasted_steps:,} steps"
    )
    return 0


def _overrides(args: argparse.Namespace) -> list[str]:
    """`--set` and the options that are short for one."""
    short: Mapping[str, Any] = {
        "engine.workers": args.workers or None,  # 0 is no number of workers: it means this process
        "engine.kind": args.engine,
        "task.on_bad": args.on_bad,
        "task.max_bad": args.max_bad,
    }
    return [*args.overrides, *(f"{key}={value}" for key, value in short.items() if value is not None)]


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Turn the first SIGINT or SIGTERM into an orderly stop; a second one ends at once."""
    heard: list[int] = []

    def listen(number: int, frame: object) -> None:
        if heard:
            raise KeyboardInterrupt
        heard.append(number)

    before = {number: signal.signal(number, listen) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield lambda: bool(heard)
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _count(text: str) -> int:
    if not text.isdigit() or int(text) > 1024:
        raise argparse.ArgumentTypeError(f"expected a number from 0 to 1024; got {text!r}")
    return int(text)
