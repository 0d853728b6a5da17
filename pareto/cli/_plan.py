"""What `pareto sweep --dry-run` shows: the cells, what each will take, and what is left of it all."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from pareto.cli._columns import columns
from pareto.cli._progress import time_text

if TYPE_CHECKING:
    from pareto.cells import Cost
    from pareto.study.config import StudyConfig
    from pareto.study.estimate import Estimate, Total


def show_plan(study: StudyConfig, folder: Path, workers: int) -> int:
    """Print the plan of a study; nothing is made."""
    from pareto.study.estimate import estimate
    from pareto.study.layout import RunFolder
    from pareto.study.parts import read_parts, roles
    from pareto.study.plan import plan_study, plan_table
    from pareto.study.rounds import in_rounds, stored_rounds
    from pareto.study.store import Store

    rows, rounds, others = [], None, {}
    path = RunFolder(folder).store
    if path.is_file():
        with Store(path) as store:
            others = roles(part for name, part in read_parts(store).items() if name != study.method_name)
            rows, rounds = [*store.rows(), *store.rows(planned=False)], stored_rounds(study, store)
    plan = plan_study(study, rounds)
    wanted = {cell.id for cell, _ in plan.cells}
    rows = [row for row in rows if row.cell.id in wanted or row.cell.id not in others]
    found, total = estimate(study, plan, rows, folder, workers)
    table = [line | _figures(one) for line, one in zip(plan_table(plan, rows), found)]
    for line in columns(table):
        print(line)
    left = sum(row["state"] != "done" for row in table)
    policies = sum(row["role"] == "policy" for row in table)
    print(
        f"{len(table)} cells, {policies} of them policies; {left} to do, {study.engine.workers} at a time, into {folder}"
    )
    if left:
        for line in total_lines(total):
            print(line)
    if in_rounds(study):
        size = f" until there are {study.weights.n}" if study.weights.n else ""
        print(f"these come first: further weights follow from their scores{size}")
    return 0


def total_lines(total: Total) -> list[str]:
    """What is left of a plan, and what that rests on."""
    memory_gb, cost = total.cost.peak_rss_mb / 1e3, total.cost
    scoring = cost.selection_env_steps + cost.scoring_env_steps
    at_most = f"; choosing and scoring at most {short(scoring)} steps" if scoring else ""
    every = f", {memory_gb * total.workers:.1f} GB in all" if total.workers > 1 else ""
    card = f", {cost.peak_gpu_mb / 1e3:.1f} GB of its card" if cost.peak_gpu_mb else ""
    workers = f"{total.workers} workers" if total.workers > 1 else "1 worker"
    basis = {
        "measured": f"times, memory and disk: as {total.measured} finished cells of this folder had them",
        "rate": f"times: guesses, scaled to {total.measured} finished cells of this folder, which are of other kinds",
        "guess": "times, memory and disk: guesses for a processor of today, good within a factor of five; finished cells "
        "will say more",
    }[total.basis]
    return [
        f"to do: {short(cost.train_tokens)} training tokens, {short(cost.generated_tokens)} generated, "
        f"{short(cost.env_steps)} environment steps{at_most}",
        f"about {time_text(cost.wall_s)} of work, {time_text(total.elapsed_s)} on {workers}; "
        f"{memory_gb:.1f} GB of memory a worker{every}{card}; {total.disk_mb:,.0f} MB of disk",
        basis,
    ]


def short(number: int) -> str:
    """A count as people say it: 950, 12.3k, 4.51M."""
    for size, unit in ((1_000_000_000, "G"), (1_000_000, "M"), (1_000, "k")):
        if number >= size:
            return f"{number / size:.3g}{unit}"
    return str(number)


def _figures(one: Estimate) -> dict[str, str]:
    return {"work": _work(one.cost), "time": ("" if one.done else "~") + time_text(one.cost.wall_s)}


def _work(cost: Cost) -> str:
    parts = (
        (cost.train_tokens, "tokens"),
        (cost.generated_tokens, "generated"),
        (cost.env_steps, "steps"),
    )
    return ", ".join(f"{short(n)} {unit}" for n, unit in parts if n) or "-"
