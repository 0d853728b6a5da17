"""A sweep's hold on its run folder: whose it is, whether it can be written, what a crash left in it."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pareto.errors import ConfigError, MachineError, UsageError
from pareto.state import atomic
from pareto.study.config import StudyConfig
from pareto.study.layout import RunFolder
from pareto.study.mounts import check_mount
from pareto.study.parts import check_joins, read_parts
from pareto.study.store import Store


def check_folder(run: RunFolder) -> None:
    """Make sure, before any work, that the folder is ours and can be written.

    Raises:
        ConfigError: it holds something that no sweep wrote.
        UsageError: it cannot be made or written there, or lies on a network file system.
        MachineError: the disk is full or broken.
    """
    check_mount(run.root)
    try:
        if run.root.is_dir() and not run.store.exists():
            names = sorted(path.name for path in run.root.iterdir())
            foreign = [n for n in names if n not in ("sweep.lock", "scratch") and not atomic.is_leftover(n)]
            if foreign:
                raise ConfigError(
                    f"{run.root} is not empty and holds no sweep ({', '.join(foreign[:3])}"
                    f"{', ...' if foreign[3:] else ''}); choose an empty or new folder with --out"
                )
        run.root.mkdir(parents=True, exist_ok=True)
        atomic.check_writable(run.root)
    except OSError as error:
        cause = error.__cause__ if isinstance(error, MachineError) else error
        # any other failure to write means that the wrong folder was named
        fault = MachineError if cause is not None and atomic.is_disk_fault(cause) else UsageError
        raise fault(
            f"the run folder {run.root} cannot be written: {error.strerror or error}; choose another with --out"
        ) from error


@contextmanager
def only_sweep(run: RunFolder) -> Iterator[None]:
    """Hold the folder; a second sweep is refused. The lock goes with the process, however it ends.

    Raises:
        UsageError: another sweep works here.
    """
    with open(run.lock, "a+", encoding="utf-8") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise UsageError(
                f"another sweep is at work in {run.root} ({file.read().strip() or 'just started'}); wait until it is done, "
                "or stop it and run this again"
            ) from None
        except OSError as error:
            raise UsageError(
                f"{run.root} lies on a file system without locks ({error.strerror}); choose a local folder with --out"
            ) from error
        file.truncate(0)
        file.write(
            f"process {os.getpid()} on {socket.gethostname()} since {time.strftime('%Y-%m-%d %H:%M:%S')}\n"
        )
        file.flush()
        yield


def check_same_study(store: Store, study: StudyConfig, run: RunFolder) -> None:
    """Note what the folder is for, or compare with what was noted.

    Raises:
        ConfigError: task, the method's settings or arithmetic differ, or the method cannot join; names what.
    """
    identity, before = _identity(study), store.get("identity")
    if before is None:
        store.set("created", datetime.now(UTC).isoformat(timespec="seconds"))
        store.set("identity", identity)
        return
    first = before["method"]["name"]
    held = {first: before["method"]} | {name: part.settings for name, part in read_parts(store).items()}
    expected = {**before, "method": held.get(study.method_name, identity["method"])}
    if expected != identity:
        changes = "; ".join(_differences(expected, identity))
        raise ConfigError(
            f"{run.root} holds another study: {changes}. Weights, seeds and the reference point may change in a folder, and "
            "other methods may join; the task and a method's settings may not change: choose another folder with --out, or "
            "take the old settings"
        )
    check_joins(store, study, run, first)


def _identity(study: StudyConfig) -> dict[str, Any]:
    """The part of a config that may not change in a folder: cells made under another one would not belong together."""
    config = study.to_json()
    engine = {k: config["engine"][k] for k in ("threads", "device", "dtype")}
    return {
        "task": config["task"],
        "method": config["method"],
        "engine": engine,
        "score": {"samples": config["score"]["samples"]},
    }


def _differences(before: Any, now: Any, key: str = "") -> Iterator[str]:
    if isinstance(before, dict) and isinstance(now, dict):
        for name in sorted({*before, *now}):
            yield from _differences(before.get(name), now.get(name), f"{key}.{name}" if key else name)
    elif before != now:
        yield f"{key} was {json.dumps(before)}, now {json.dumps(now)}"


def is_current(run: RunFolder, config: Path, study: StudyConfig) -> bool:
    """Whether the folder holds the complete run of exactly this config, which lies in this file."""
    try:
        return run.manifest.is_file() and config.read_text(encoding="utf-8") == study.to_yaml()
    except OSError:
        return False


def clear_finished(run: RunFolder, store: Store) -> None:
    """Delete the work in progress of cells that are done: a crash between a commit and its clean-up leaves it."""
    scratch = run.root / "scratch"
    if not scratch.is_dir():
        return
    open_cells = {row.cell.id for row in [*store.rows(), *store.rows(planned=False)] if row.status != "done"}
    for path in scratch.iterdir():
        if path.is_dir() and path.name not in open_cells:
            shutil.rmtree(path, ignore_errors=True)
    if not open_cells:
        shutil.rmtree(scratch, ignore_errors=True)
