"""SECURITY.md promises nothing that no test shows: every test it names is there, and every line names one."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CHECKLIST = (ROOT / "SECURITY.md").read_text(encoding="utf-8").partition("## The checklist")[2]
LINES = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in CHECKLIST.splitlines()
    if line.startswith("|")
][2:]
NAMED = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")


@cache
def _tests(path: str) -> set[str]:
    """The test functions of a file, by its syntax tree: nothing is imported."""
    file = ROOT / path
    if not file.is_file():
        return set()
    tree = ast.parse(file.read_text(encoding="utf-8"))
    return {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_the_checklist_is_read() -> None:
    assert len(LINES) >= 12
    assert all(len(line) == 4 for line in LINES)


@pytest.mark.parametrize("line", LINES, ids=[line[0] for line in LINES])
def test_every_line_names_tests_that_are_there(line: list[str]) -> None:
    named = NAMED.findall(line[3])
    assert named
    assert not NAMED.sub("", line[3]).strip()  # nothing that only looks like a test
    assert [f"{path}::{name}" for path, name in named if name not in _tests(path)] == []


def test_a_test_that_is_not_there_would_be_noticed() -> None:
    assert "test_nothing_of_this_name" not in _tests("tests/test_offline.py")
    assert "test_what_counts_as_this_machine" in _tests("tests/test_offline.py")
    assert _tests("tests/no_such_file.py") == set()
