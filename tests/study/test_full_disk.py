"""A disk without room: exit code 5 and one clear message, the old state whole, and with room again the same in the end."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.study.full_disk import faults


def lines(folder: Path, case: str, how: str, every: int) -> list[dict]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.study.full_disk", str(folder), case, how, str(every)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return [json.loads(line) for line in done.stdout.splitlines()]


@pytest.mark.parametrize(
    ("case", "how", "every"),
    [
        ("sweep", "passes", 19),
        ("sweep", "stays", 61),
        ("extended sweep", "passes", 37),
        ("report", "passes", 1),
        ("comparison", "passes", 3),
        ("published", "passes", 5),
        ("score", "passes", 1),
        ("import", "passes", 1),
    ],
)
def test_no_room(tmp_path: Path, case: str, how: str, every: int) -> None:
    """All points, and sweeps of all methods, are `python tests/soak/full_disk.py`."""
    found = lines(tmp_path, case, how, every)
    assert faults(found) == []
    assert 5 in {line["code"] for line in found}


def test_faults_are_told() -> None:
    whole = {"point": 0, "code": 0, "said": "fine", "again": 0, "told": "", "old stays": True}
    whole |= {"problems": [], "content": "a", "out": {}}
    assert faults([whole]) == []
    message = {"code": 5, "said": "1 of 2\npareto sweep: no space"}
    assert faults([whole, whole | message]) == []
    for change in (
        {"code": 1},
        {"said": "Traceback (most recent call last)\npareto sweep: no space"},
        {"said": "oh"},
        {"again": 5},
        {"old stays": False},
        {"problems": ["x is missing"]},
        {"content": "b"},
        {"out": {"a": "b"}},
    ):
        assert len(faults([whole, whole | message | {"point": 1} | change])) == 1, change
