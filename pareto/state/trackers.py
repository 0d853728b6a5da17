"""Metrics to the trackers people look at (TensorBoard, W&B, MLflow, trackio), through accelerate; the JSONL log needs none."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

from pareto.errors import MissingPackageError

Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]


class Trackers:
    """Passes records on to trackers; opened by the first one, so that only a process that logs opens any.

    A run that resumes from a checkpoint sends the steps after it again; what a tracker makes of that is its own affair. The
    metric log (`pareto.state.metrics`) is the record that counts.

    Args:
        names: which; their packages must be installed.
        project: what several runs have in common.
        run: name of this one.
        folder: where those that write files write them.

    Raises:
        MissingPackageError: a tracker's package is not installed.
    """

    def __init__(self, names: Sequence[Tracker], *, project: str, run: str, folder: Path | str) -> None:
        check_installed(names)
        self._makers = [_MAKERS[name] for name in dict.fromkeys(names)]
        self._about = project, run, Path(folder)
        self._open: list[Any] = []

    def log(self, record: Mapping[str, Any]) -> None:
        """Send one record; what is not a finite number stays out.

        Args:
            record: flat mapping with an integer "step".
        """
        if not self._open:
            self._open = [_started(make(*self._about)) for make in self._makers]
        numbers = {k: v for k, v in record.items() if isinstance(v, int | float) and math.isfinite(v)}
        step = numbers.pop("step")
        for tracker in self._open:
            tracker.log(numbers, step=int(step))

    def close(self) -> None:
        """End the runs; logging opens them again."""
        for tracker in self._open:
            tracker.finish()
        self._open = []

    def __enter__(self) -> Trackers:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def check_installed(names: Sequence[Tracker]) -> None:
    """Check that the packages of trackers are there.

    Raises:
        MissingPackageError: one is not, with its name.
    """
    for name in names:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:  # a mere folder of that name is no package
            raise MissingPackageError(name, name, f"the tracker {name!r}")


def _tensorboard(project: str, run: str, folder: Path) -> Any:
    from accelerate.tracking import TensorBoardTracker

    return TensorBoardTracker(run, logging_dir=folder / "tensorboard")


def _wandb(project: str, run: str, folder: Path) -> Any:
    from accelerate.tracking import WandBTracker

    folder.mkdir(parents=True, exist_ok=True)
    return WandBTracker(project, name=run, id=f"{project}-{run}", dir=str(folder), resume="allow")


def _mlflow(project: str, run: str, folder: Path) -> Any:
    from accelerate.tracking import MLflowTracker

    return MLflowTracker(project, run_name=run)


def _trackio(project: str, run: str, folder: Path) -> Any:
    from accelerate.tracking import TrackioTracker

    return TrackioTracker(project, name=run, resume="allow")


_MAKERS: Mapping[str, Callable[[str, str, Path], Any]] = {
    "tensorboard": _tensorboard,
    "wandb": _wandb,
    "mlflow": _mlflow,
    "trackio": _trackio,
}
assert set(_MAKERS) == set(get_args(Tracker))


def _started(tracker: Any) -> Any:
    if hasattr(tracker, "start"):  # earlier versions of accelerate start when they are made
        tracker.start()
    return tracker
