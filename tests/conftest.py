"""What many rooms' tests need: a run folder written by hand, registries that forget what a test files in them."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from pareto.registry import Registry

os.environ.setdefault("OMP_NUM_THREADS", "1")  # workers of the test run do not fight over cores
os.environ.setdefault("HF_HUB_OFFLINE", "1")

# A slow machine fails no test, and the same examples are tried everywhere.
settings.register_profile(
    "suite", deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("suite")

ROWS = [  # helpful is maximised, tokens are minimised; "c" is dominated by "b"
    ("a", {"helpful": 1.0, "tokens": 0.0}, {"helpful": 3.0, "tokens": 9.0}),
    ("b", {"helpful": 0.5, "tokens": 0.5}, {"helpful": 2.0, "tokens": 4.0}),
    ("c", None, {"helpful": 1.5, "tokens": 6.0}),
    ("d", {"helpful": 0.0, "tokens": 1.0}, {"helpful": 0.5, "tokens": 1.0}),
]


@pytest.fixture
def write_run(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a run folder with four policies of the made-up kind "fake" and returns its path."""

    def write(edit: Callable[[dict[str, Any]], object] = lambda front: None, manifest: bool = True) -> Path:
        folder = tmp_path / "run"
        policies = []
        for name, weights, values in ROWS:
            (folder / "policies" / name).mkdir(parents=True, exist_ok=True)
            data = json.dumps({"says": name}).encode()
            (folder / "policies" / name / "policy.json").write_bytes(data)
            files = {"policy.json": hashlib.sha256(data).hexdigest()}
            policies.append({"id": name, "seed": 0, "weights": weights, "values": dict(values), "kind": "fake", "files": files, "n": 8})  # fmt: skip
        front: dict[str, Any] = {
            "format": 1,
            "study": "by-hand",
            "objectives": [{"name": "helpful", "direction": "max", "unit": "reward"}, {"name": "tokens", "direction": "min", "unit": "tokens"}],
            "ref_point": [0.0, 10.0],
            "policies": policies,
            "indicators": {"hypervolume": 17.0, "cardinality": 3},
            "exact": None,
        }  # fmt: skip
        edit(front)
        (folder / "front.json").write_text(json.dumps(front))
        if manifest:
            from pareto.state import manifest as manifests

            manifests.write(folder)
        return folder

    return write


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """A function that lets a test file things in registries; what it filed is gone when it ends."""

    def prepare(*registries: Registry[Any], empty: bool = False) -> None:
        for registry in registries:
            registry.names()  # everything is discovered first, so that nothing real is forgotten too
            monkeypatch.setattr(registry, "_entries", {} if empty else dict(registry._entries))

    return prepare


@pytest.fixture
def fake_kind(temporary: Callable[..., None]) -> None:
    """Policies of kind "fake" load as (name of the run folder, id)."""
    from pareto.policy_set import LOADERS

    temporary(LOADERS)
    LOADERS.register("fake", source="made up for tests")(lambda run, record: (run.folder.name, record.id))
