"""What writes to a disk goes through `pareto.state.atomic`, or stands here with the reason why a full disk harms nothing."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
METHODS = {
    "write_text",
    "write_bytes",
    "save_pretrained",
    "savez",
    "savez_compressed",
    "save_file",
    "tofile",
    "copyfile",
    "copy2",
    "copytree",
    "to_csv",
    "to_parquet",
    "NamedTemporaryFile",
    "memmap",
}
FIT = "in the staged folder of a fit or an export: what fails there takes the folder with it"
BUFFER = "into memory, which atomic writes"
HERE = "what atomic is made of"
PAST_ATOMIC = {
    ("pareto/align/mah_dpo.py", "copyfile"): FIT,
    ("pareto/align/preference_job.py", "save"): BUFFER,
    ("pareto/align/preference_job.py", "save_file"): FIT,
    ("pareto/align/told_job.py", "savez"): BUFFER,
    ("pareto/cli/__init__.py", "open"): "/dev/null",
    ("pareto/core/procedures/rounds.py", "savez"): BUFFER,
    ("pareto/core/reference.py", "save"): BUFFER,
    ("pareto/data/interned.py", "open"): "a spool that its maker deletes",
    ("pareto/data/pairs.py", "savez"): FIT,
    ("pareto/data/token_store.py", "memmap"): "read only",
    ("pareto/data/token_store.py", "open"): FIT,
    ("pareto/data/token_store.py", "save"): FIT,
    ("pareto/models/adapters.py", "save_pretrained"): FIT,
    ("pareto/models/decoding_policy.py", "copyfile"): FIT,
    ("pareto/models/lora_factors.py", "save_file"): FIT,
    ("pareto/models/score_cache.py", "connect"): "a cache: a full disk costs time, not the run",
    ("pareto/report/writing.py", "to_csv"): "this project's own, returns text",
    ("pareto/state/atomic.py", "open"): HERE,
    ("pareto/state/atomic.py", "write_bytes"): HERE,
    ("pareto/state/atomic.py", "write_text"): HERE,
    ("pareto/state/metrics.py", "open"): "appends; a torn last line is left out and rewound",
    ("pareto/steer/conditioned_export.py", "save_pretrained"): FIT,
    ("pareto/steer/exporting.py", "save_pretrained"): FIT,
    ("pareto/study/database.py", "connect"): "the store: SQLite's log keeps what was committed",
    ("pareto/study/engines/local.py", "open"): "what a worker says, for people",
    ("pareto/study/fitting/text.py", "save_pretrained"): FIT,
    ("pareto/study/folder.py", "open"): "the lock, whose words are for people",
    ("pareto/study/parcels.py", "write_bytes"): FIT,
    ("pareto/study/scores.py", "savez"): BUFFER,
    ("pareto/study/work.py", "open"): "an empty lock",
    ("pareto/tasks/lab/task.py", "save_pretrained"): FIT,
    ("pareto/tasks/lab/task.py", "savez"): FIT,
    ("pareto/tasks/text/reference.py", "save"): FIT,
    ("pareto/tasks/text/task.py", "save_pretrained"): FIT,
}
"""(file, call) -> why. Whoever adds one tries it without room: tests/study/full_disk.py."""


def writes(tree: ast.AST) -> Iterator[str]:
    """Names of the calls in a module that write to the disk past `atomic`."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        called = node.func
        name = called.attr if isinstance(called, ast.Attribute) else getattr(called, "id", "")
        owner = getattr(called.value, "id", "") if isinstance(called, ast.Attribute) else ""
        if owner == "atomic":
            continue
        if name == "open" and _mode(node, first=0 if isinstance(called, ast.Attribute) else 1) & set("wax+"):
            yield "open"
        elif name in METHODS or (owner, name) in (("np", "save"), ("sqlite3", "connect"), ("os", "open")):
            yield name


def _mode(call: ast.Call, first: int) -> set[str]:
    given = [k.value for k in call.keywords if k.arg == "mode"] + call.args[first : first + 1]
    return {c for value in given if isinstance(value, ast.Constant) for c in str(value.value)}


def found() -> set[tuple[str, str]]:
    """(file, call) of everything the package writes past `atomic`."""
    return {
        (path.relative_to(ROOT).as_posix(), name)
        for path in sorted((ROOT / "pareto").rglob("*.py"))
        for name in writes(ast.parse(path.read_text(encoding="utf-8")))
    }


def test_every_write_has_its_way() -> None:
    assert found() == set(PAST_ATOMIC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("open(path, 'wb')", ["open"]),
        ("path.open('a')", ["open"]),
        ("open(path, mode='x')", ["open"]),
        ("open(path)", []),
        ("open(path, 'rb')", []),
        ("path.write_text('x')", ["write_text"]),
        ("atomic.write_text(path, 'x')", []),
        ("np.save(path, x)", ["save"]),
        ("sqlite3.connect(path)", ["connect"]),
        ("model.save_pretrained(folder)", ["save_pretrained"]),
    ],
)
def test_writes_are_recognised(text: str, expected: list[str]) -> None:
    assert list(writes(ast.parse(text))) == expected
