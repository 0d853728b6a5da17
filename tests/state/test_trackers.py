"""Records reach the trackers; a missing package is named before anything starts."""

from __future__ import annotations

import importlib.util
import math
from importlib.machinery import ModuleSpec

import pytest

from pareto.errors import MissingPackageError
from pareto.state import trackers
from pareto.state.trackers import Trackers


class Fake:
    """The face of accelerate's trackers."""

    def __init__(self, *about):
        self.about, self.calls = about, []

    def start(self):
        self.calls.append("start")

    def log(self, values, step):
        self.calls.append((step, values))

    def finish(self):
        self.calls.append("finish")


@pytest.fixture
def made(monkeypatch):
    """Trackers that were made, by name."""
    found = {}

    def maker(name):
        return lambda *about: found.setdefault(name, Fake(*about))

    monkeypatch.setattr(trackers, "_MAKERS", {name: maker(name) for name in trackers._MAKERS})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=name))
    return found


def test_each_tracker_hears_every_record_once(made, tmp_path):
    with Trackers(("wandb", "trackio", "wandb"), project="p", run="r", folder=tmp_path) as log:
        assert made == {}  # a process that never logs opens nothing
        log.log({"step": 2, "loss": 0.5, "note": "text", "kl": math.nan})
        log.log({"step": 4, "loss": 0.25})
    assert set(made) == {"wandb", "trackio"}
    for tracker in made.values():
        assert tracker.about == ("p", "r", tmp_path)
        assert tracker.calls == ["start", (2, {"loss": 0.5}), (4, {"loss": 0.25}), "finish"]


def test_no_trackers_cost_nothing(tmp_path):
    with Trackers((), project="p", run="r", folder=tmp_path) as log:
        log.log({"step": 1, "loss": 1.0})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("found", [None, ModuleSpec("mlflow", None)])  # the second: a folder called mlflow
def test_a_missing_package_is_named(found, monkeypatch, tmp_path):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: found)
    with pytest.raises(MissingPackageError, match=r"tracker 'mlflow' needs the package 'mlflow'.*\[mlflow\]"):
        Trackers(("mlflow",), project="p", run="r", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_writes_events(tmp_path):
    pytest.importorskip("tensorboard")
    with Trackers(("tensorboard",), project="p", run="r", folder=tmp_path) as log:
        log.log({"step": 1, "rewards/margins": 0.5})
    (events,) = (tmp_path / "tensorboard" / "r").glob("events.*")
    assert b"rewards/margins" in events.read_bytes()
