"""Killed after the first checkpoint of every cell, a sweep of any method gives, bit for bit, what it would have given."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pareto.methods import METHODS
from tests.laws.resuming import TINY


def test_every_method_is_tried() -> None:
    """A new method adds a tiny study to tests/laws/resuming.py."""
    assert set(TINY) == set(METHODS.names())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(TINY))
def test_killed_is_uninterrupted(name: str, tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.laws.resuming", name, str(tmp_path)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    untouched = {cell for cell, cost in found["trained"].items() if cost} - set(found["killed"])
    assert untouched == set(), "these train without a checkpoint"
    assert found["killed"]
    assert found["resumed"] == found["whole"]
