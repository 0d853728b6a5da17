"""Run a sweep that dies at every step that changes the disk, each time finished by an undisturbed one.

Started as a process of its own, it forks: the child dies at the k-th rename, flush or commit, as by SIGKILL, without any
cleaning up. It prints one JSON line per point: the content_sha256 after the repair, and the problems `verify` found.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from pathlib import Path

from pareto.state import manifest
from pareto.study import front_json
from pareto.study.config import load_study
from pareto.study.run import run_study
from pareto.study.store import Store

STUDY = {
    "study": "fake",
    "task": {"kind": "fake", "units": 4},
    "method": {"name": "fake_method"},
    "weights": {"n": 2},
    "engine": {"device": "cpu"},
}


def dying_at(point: int) -> None:
    """Make the process die at the given call of anything that changes the disk."""
    calls = 0

    def counted(real):
        def call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls == point:
                os._exit(9)
            return real(*args, **kwargs)

        return call

    for name in ("rename", "replace", "fsync", "mkdir", "unlink"):
        setattr(os, name, counted(getattr(os, name)))
    for name in ("set", "plan", "claim", "commit_all", "report"):
        setattr(Store, name, counted(getattr(Store, name)))


def main(folder: Path, every: int) -> None:
    # a thousand resamples per point would teach nothing
    front_json._hypervolume_interval = lambda *args: None
    # a killed process loses nothing that it wrote, flushed or not; the calls still count as points
    os.fsync = lambda fd: None
    Store.SYNCHRONOUS = "OFF"
    study = load_study(STUDY, imports=["tests.study.fakes"])
    point = 0
    while True:
        child = os.fork()
        if child == 0:
            if point:
                dying_at(point)
            run_study(study, folder / "run", workers=0)
            os._exit(0)
        survived = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
        outcome = run_study(study, folder / "run", workers=0)
        sha256 = outcome.front["provenance"]["content_sha256"]
        print(json.dumps([point, sha256, manifest.verify(folder / "run")]), flush=True)
        if survived and point:
            return
        shutil.rmtree(folder / "run")
        point += every if point else 1


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
