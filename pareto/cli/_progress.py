"""What a sweep shows while it works: bars on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from pareto.study.controller import Notice

LINE_EVERY_S = 30.0
"""How often a plain log says where running cells are."""


class Watcher(Protocol):
    """Shows the notices of a sweep; a context manager."""

    def __enter__(self) -> Watcher: ...

    def __exit__(self, *_: object) -> None: ...

    def __call__(self, notice: Notice) -> None: ...


def watcher() -> Watcher:
    """Bars where standard output is a terminal, else lines."""
    return Bars() if sys.stdout.isatty() else Lines()


class Forecast:
    """Counts cells and guesses the time left from those that are done, or from the pace of those at work.

    Args:
        clock: seconds.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.total = self.done = self.failed = 0
        self._workers = 1
        self._took: list[float] = []
        self._started: dict[str, float] = {}
        self._share: dict[str, float] = {}

    def take(self, notice: Notice) -> None:
        """Count one notice."""
        if notice.kind == "plan":
            self.total, self.done = notice.data["total"], notice.data["done"]
            self._workers = max(1, notice.data["workers"])
        if notice.cell is None:
            return
        cell = notice.cell.id
        if notice.kind == "start":
            self._started[cell], self._share[cell] = self._clock(), 0.0
        elif notice.kind == "progress":
            self._share[cell] = notice.data["done"] / max(1, notice.data["total"])
        else:
            started = self._started.pop(cell, self._clock())
            self._share.pop(cell, None)
            if notice.kind == "done":
                self.done += 1
                self._took.append(self._clock() - started)
            self.failed += notice.kind == "failed"

    def took_s(self) -> float:
        """Seconds the last finished cell took."""
        return self._took[-1] if self._took else 0.0

    def left_s(self) -> float | None:
        """Seconds left, or None while nothing is known."""
        now = self._clock()
        pace = [(now - self._started[c]) / share for c, share in self._share.items() if share > 0.05]
        each = self._took or pace
        if not each:
            return None
        left = self.total - self.done - self.failed - sum(self._share.values())
        return max(0.0, left) * sum(each) / len(each) / self._workers


class Lines:
    """One line per cell that starts over, ends or fails, and now and then where the running ones are."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._forecast = Forecast(clock)
        self._clock = clock
        self._said = clock()

    def __enter__(self) -> Lines:
        return self

    def __exit__(self, *_: object) -> None:
        return None

    def __call__(self, notice: Notice) -> None:
        """Print what is worth a line."""
        self._forecast.take(notice)
        text = self._text(notice)
        if text:
            self._said = self._clock()
            print(text, flush=True)

    def _text(self, notice: Notice) -> str:
        forecast = self._forecast
        if notice.kind == "plan":
            return f"{forecast.total} cells, {forecast.done} done, {notice.data['workers']} at a time"
        if notice.kind in ("choosing", "exact"):
            return {"choosing": "choosing the next weights", "exact": "working out the exact front"}[
                notice.kind
            ]
        name = label(notice)
        if notice.kind == "done":
            left = time_text(forecast.left_s())
            return f"[{forecast.done}/{forecast.total}] {name}: {time_text(forecast.took_s())}{f', {left} left' if left else ''}"
        if notice.kind in ("retry", "failed"):
            again = "will be tried again" if notice.kind == "retry" else "failed"
            return f"{name} {again}: {notice.data['type']}: {notice.data['message']}"
        if notice.kind == "progress" and self._clock() - self._said >= LINE_EVERY_S:
            return f"  {name}: {notice.data['done']}/{notice.data['total']} {figures_text(notice.data['figures'])}".rstrip()
        return ""


class Bars:
    """A bar per running cell and one for the whole, with the time left."""

    def __init__(self) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._forecast = Forecast()
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", style="dim"),
        )
        self._whole: Any = None
        self._cells: dict[str, Any] = {}

    def __enter__(self) -> Bars:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    def __call__(self, notice: Notice) -> None:
        """Move the bars."""
        self._forecast.take(notice)
        if notice.kind == "plan" and self._whole is not None:
            self._progress.update(self._whole, total=self._forecast.total)
        elif notice.kind == "plan":
            self._whole = self._progress.add_task("cells", total=self._forecast.total, note="")
        elif notice.kind == "exact":
            self._progress.add_task("exact front", total=None, note="")
        else:
            self._cell(notice)
        left = time_text(self._forecast.left_s())
        if self._whole is not None:
            self._progress.update(
                self._whole, completed=self._forecast.done, note=f"{left} left" if left else ""
            )

    def _cell(self, notice: Notice) -> None:
        assert notice.cell is not None
        cell = notice.cell.id
        if notice.kind == "start":
            self._cells[cell] = self._progress.add_task(label(notice), total=None, note="")
        elif notice.kind == "progress":
            data = notice.data
            self._progress.update(
                self._cells[cell],
                completed=data["done"],
                total=data["total"],
                note=figures_text(data["figures"]),
            )
        else:
            self._progress.remove_task(self._cells.pop(cell))
            if notice.kind in ("retry", "failed"):
                self._progress.console.print(
                    f"{label(notice)}: {notice.data['type']}: {notice.data['message']}", markup=False
                )


def label(notice: Notice) -> str:
    """A cell as people know it: its weights and seed, or that it is a prerequisite, and the start of its id."""
    from pareto.study.plan import weights_text

    cell = notice.cell
    assert cell is not None
    what = weights_text(cell.weights) if cell.weights else "prerequisite"
    return f"{cell.id} {what} seed {cell.seed}"


def figures_text(figures: Any) -> str:
    """A few figures, short."""
    shown = [f"{name} {value:.4g}" for name, value in figures.items() if name not in ("step", "lr")]
    return " ".join(shown[:3])


def time_text(seconds: float | None) -> str:
    """Seconds as people say them: "4.2 s", "3 min 05 s", "2 h 10 min"; "" for None."""
    if seconds is None:
        return ""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
