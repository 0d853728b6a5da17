from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from pareto.methods import METHODS
from pareto.study.store import Store
from pareto.tasks import TASKS

FAKES = "tests.study.fakes"


@pytest.fixture(autouse=True)
def no_flush(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here pulls the plug: a killed process loses nothing that it wrote, flushed or not."""
    monkeypatch.setattr(os, "fsync", lambda fd: None)
    monkeypatch.setattr(Store, "SYNCHRONOUS", "OFF")


@contextmanager
def registered_fakes() -> Iterator[Any]:
    """The fake task and method, registered for a while only, so that what sweeps the registries never meets them."""
    yield importlib.import_module(FAKES)
    TASKS._entries.pop("fake", None)
    METHODS._entries.pop("fake_method", None)
    sys.modules.pop(FAKES, None)


def make_study(*settings: str) -> Any:
    """A study of the fakes from ``key=value`` settings."""
    from pareto.study.config import load_study

    mapping = {
        "study": "fake",
        "task": {"kind": "fake"},
        "method": {"name": "fake_method"},
        "weights": {"n": 5},
        "engine": {"device": "cpu"},
    }
    return load_study(mapping, settings, imports=[FAKES])


@pytest.fixture
def fakes() -> Iterator[Any]:
    """The module of the fakes, registered for one test."""
    with registered_fakes() as module:
        yield module


@pytest.fixture
def study(fakes: Any) -> Any:
    """Makes studies of the fakes."""
    return make_study
