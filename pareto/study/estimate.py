"""What a plan will take: tokens, steps, time, memory and disk of every cell, before any is made.

Tokens and steps follow from the settings (`pareto.pricing`). Time, memory and disk are measured where the run folder holds
finished cells, and guessed otherwise. A cell that is like a finished one (same maker, role and kinds of settings) takes what
that took, in proportion to its work.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from pareto.cells import Cell, Cost
from pareto.pricing import TextSizes, env_steps_per_s, fit_price, policies_of
from pareto.study.committed import recorded
from pareto.study.config import StudyConfig
from pareto.study.machine import device
from pareto.study.plan import Plan
from pareto.study.rows import Row

Basis = Literal["measured", "rate", "guess"]
"""Where a time comes from: finished cells of the same kind, of another kind, or the figures below."""

FLOPS_PER_THREAD = 2e10
"""Of a thread of a processor: lab_modpo's cells (1e5 parameters, 43,000 tokens a second) and alpaca's reach about that."""
FLOPS_PER_CARD = 5e13
"""Of a graphics card: a third of what a present one can do in bfloat16."""
MOST_TOKENS_PER_S = 50_000.0
"""What small models reach: then it is overhead that counts, not arithmetic."""
GENERATION = 10.0
"""How much longer a generated token takes than a trained one of the same model."""
ENV_STEPS_PER_S = 5_000.0
"""Of agents in batched environments on one thread: minecart and deep-sea treasure have 4,000 to 10,000 with learning. A method
that is far from it says so itself."""
UNKNOWN_PARAMETERS = 1_000_000_000
CELL_S = 10.0
"""Loading, scoring and storing of a small cell."""
TEXT_MB, AGENT_MB = 600.0, 350.0
"""Of a worker before a model counts: what lab's and minecart's workers peak at."""
BYTES_TRAINED = 20
"""Per parameter while a whole model is trained: weights, reference, gradient and Adam's two moments, 4 bytes each."""


@dataclass(frozen=True)
class Estimate:
    """What one cell will take.

    Args:
        cost: tokens and steps, those of scoring at most; wall_s and peak_rss_mb as `basis` says.
        disk_mb: files that stay.
        basis: where the time comes from.
        done: it is finished, and this is what it took.
    """

    cost: Cost
    disk_mb: float
    basis: Basis
    done: bool = False


@dataclass(frozen=True)
class Total:
    """What is left of a plan.

    Args:
        cost: of all open cells; wall_s is their sum, peak_rss_mb the largest one.
        elapsed_s: from start to end on the given workers.
        workers: as many.
        disk_mb: files that will come on top.
        basis: the weakest among the open cells'.
        measured: how many finished cells speak for it.
    """

    cost: Cost
    elapsed_s: float
    workers: int
    disk_mb: float
    basis: Basis
    measured: int


def estimate(
    study: StudyConfig, plan: Plan, rows: Sequence[Row], folder: Path, workers: int
) -> tuple[list[Estimate], Total]:
    """Estimate every cell of a plan, in its order, and what is left of it.

    Args:
        study: the resolved config.
        plan: its plan.
        rows: what the store knows; finished cells of other plans speak for the time, too.
        folder: the run folder, for the size of files.
        workers: cells at the same time.
    """
    task: Any = study.task
    sizes = task.sizes() if hasattr(task, "sizes") else None
    seen = {
        row.cell.id: _Seen(row, fit_price(row.cell, task, study.method, sizes), folder)
        for row in rows
        if row.status == "done" and row.result
    }
    guesses = _Guesses(study, sizes, list(seen.values()))
    found = []
    for cell, _ in plan.cells:
        if own := seen.get(cell.id):
            found.append(Estimate(own.cost, own.disk_mb, "measured", done=True))
        else:
            found.append(guesses.of(cell, fit_price(cell, task, study.method, sizes)))
    return found, _total(plan, found, workers, len(seen))


def makespan_s(durations_s: Sequence[float], needs: Sequence[Sequence[int]], workers: int) -> float:
    """When the last of some jobs is over, if each free worker takes the first one whose needs are done.

    Args:
        durations_s: of every job.
        needs: numbers of earlier jobs that each waits for.
        workers: >= 1.
    """
    left = [len(set(own)) for own in needs]
    following: dict[int, list[int]] = {}
    for i, own in enumerate(needs):
        for n in set(own):
            following.setdefault(n, []).append(i)
    ready = [i for i, n in enumerate(left) if n == 0]  # ascending, so a heap
    running: list[tuple[float, int]] = []
    now = 0.0
    while ready or running:
        while ready and len(running) < workers:
            i = heapq.heappop(ready)
            heapq.heappush(running, (now + durations_s[i], i))
        now, over = heapq.heappop(running)
        for i in following.get(over, ()):
            left[i] -= 1
            if left[i] == 0:
                heapq.heappush(ready, i)
    return now


class _Seen:
    """A finished cell, as far as it speaks for others."""

    def __init__(self, row: Row, price: Cost, folder: Path) -> None:
        assert row.result is not None
        self.cell, self.price = row.cell, price
        self.cost = Cost(**row.result["cost"])
        paths = [folder / name for name in recorded(row)]
        self.disk_mb = sum(path.stat().st_size for path in paths if path.is_file()) / 1e6


class _Guesses:
    """Estimates of open cells, from those that are done.

    Args:
        study: the resolved config.
        sizes: of a text task.
        seen: finished cells.
    """

    def __init__(self, study: StudyConfig, sizes: TextSizes | None, seen: Sequence[_Seen]) -> None:
        self._study, self._sizes, self._seen = study, sizes, seen
        self._alike: dict[tuple[Any, ...], list[_Seen]] = {}
        for one in seen:
            self._alike.setdefault(_kind(one.cell), []).append(one)
        known = [one for one in seen if _agents(one.cell) in (None, study.method_name)]
        took = sum(one.cost.wall_s for one in known)
        guessed = sum(_guess(study, one.cell, one.price, sizes)[0] for one in known)
        self._slower = took / guessed if took else None

    def of(self, cell: Cell, price: Cost) -> Estimate:
        """The estimate of a cell of this price."""
        if alike := self._alike.get(_kind(cell)):
            ratio = _ratio(price, _mean([one.price for one in alike]))
            cost = _times(_mean([one.cost for one in alike]), ratio)
            return Estimate(cost, sum(one.disk_mb for one in alike) / len(alike), "measured")
        task: Any = self._study.task
        if hasattr(task, "score_price"):
            price = price + _times(task.score_price(), policies_of(cell, self._study.method))
        seconds, memory_mb, disk_mb = _guess(self._study, cell, price, self._sizes)
        cost = replace(
            price,
            wall_s=seconds * (self._slower or 1.0),
            peak_rss_mb=max([one.cost.peak_rss_mb for one in self._seen], default=memory_mb),
        )
        return Estimate(cost, disk_mb, "rate" if self._slower else "guess")


def _kind(cell: Cell) -> tuple[Any, ...]:
    """What makes cells alike: who makes them, what for, and which settings they have, whatever their values."""
    return cell.maker, cell.role, _agents(cell), tuple(sorted(cell.spec))


def _agents(cell: Cell) -> str | None:
    """The method of a cell that holds all of a method's settings, as those of agents do; their speeds have nothing in common."""
    own = cell.spec.get("method")
    return own.get("name") if isinstance(own, Mapping) else None


def _guess(
    study: StudyConfig, cell: Cell, price: Cost, sizes: TextSizes | None
) -> tuple[float, float, float]:
    """(seconds, peak MB, MB of files) from the figures above."""
    steps_s = price.env_steps / env_steps_per_s(study.method, ENV_STEPS_PER_S)
    if sizes is None:
        return CELL_S + steps_s, AGENT_MB, 0.2 * max(1, policies_of(cell, study.method))
    parameters = sizes.parameters or UNKNOWN_PARAMETERS
    threads = FLOPS_PER_THREAD * study.engine.threads
    speed = threads if device(study.engine.device) == "cpu" else FLOPS_PER_CARD
    per_s = min(MOST_TOKENS_PER_S, speed / (6 * parameters))
    whole = cell.role == "prerequisite" and cell.maker == "task"
    adapter = cell.spec.get("adapter")
    part = 0.05 if not whole and isinstance(adapter, Mapping) and adapter.get("kind") == "lora" else 1.0
    seconds = CELL_S + (price.train_tokens + GENERATION * price.generated_tokens) / per_s
    memory = TEXT_MB + parameters * (8 + part * (BYTES_TRAINED - 8)) / 1e6
    return seconds, memory, 0.1 + 4 * part * parameters / 1e6


def _work(cost: Cost) -> float:
    return cost.train_tokens + cost.generated_tokens + cost.env_steps


def _ratio(price: Cost, other: Cost) -> float:
    return _work(price) / _work(other) if _work(price) and _work(other) else 1.0


def _mean(costs: Sequence[Cost]) -> Cost:
    return _times(sum(costs, Cost()), 1 / len(costs))


def _times(cost: Cost, factor: float) -> Cost:
    """A cost so many times; peaks stay."""
    plain = asdict(cost)
    peaks = ("peak_rss_mb", "peak_gpu_mb")
    return Cost(
        **{
            k: v if k in peaks else (v * factor if k == "wall_s" else round(v * factor))
            for k, v in plain.items()
        }
    )


def _total(plan: Plan, found: Sequence[Estimate], workers: int, measured: int) -> Total:
    left = [one for one in found if not one.done]
    place = {cell.id: i for i, (cell, _) in enumerate(plan.cells)}
    durations = [0.0 if one.done else one.cost.wall_s for one in found]
    needs = [[place[n] for n in own if n in place] for _, own in plan.cells]
    order: tuple[Basis, ...] = ("measured", "rate", "guess")
    weakest = max((order.index(one.basis) for one in left), default=0)
    return Total(
        sum((one.cost for one in left), Cost()),
        makespan_s(durations, needs, max(1, workers)),
        workers,
        sum(one.disk_mb for one in left),
        order[weakest],
        measured,
    )
