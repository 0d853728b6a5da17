"""What holds for every file: it imports, it prints nothing, and what it registers is documented and tested."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from pareto.registry import Entry, Registry

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "pareto").rglob("*.py"), *(ROOT / "envs").rglob("*.py")])


def _modules() -> list[str]:
    """Every module of the library and the environments by name, optional ones that name their missing package included."""
    found = []
    for top in ("pareto", "envs"):
        package = importlib.import_module(top)
        found += [top, *(m.name for m in pkgutil.walk_packages(package.__path__, f"{top}."))]
    return found


def test_every_module_imports():
    for name in _modules():
        importlib.import_module(name)


def test_only_one_name_for_the_environments_is_ever_loaded():
    assert "envs" in sys.modules
    assert "pareto.envs" not in sys.modules


def test_the_floors_hold():
    command = [Path(sys.executable).parent / "lint-imports", "--no-cache"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:]
    assert " kept, 0 broken." in done.stdout


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


def test_nothing_prints_outside_the_command_line():
    printing = []
    for path in SOURCES:
        name = path.relative_to(ROOT)
        calls = [n for n in ast.walk(_tree(path)) if isinstance(n, ast.Call)]
        if name.parts[:2] != ("pareto", "cli"):
            printing += [f"{name}:{n.lineno}" for n in calls if getattr(n.func, "id", "") == "print"]
    assert printing == []


def _entries() -> list[tuple[Registry, Entry]]:
    """Every entry of every registry that any module of the library holds."""
    registries: dict[int, Registry] = {}
    for name in _modules():
        for value in vars(importlib.import_module(name)).values():
            if isinstance(value, Registry):
                registries[id(value)] = value
    return [(registry, entry) for registry in registries.values() for entry in registry]


def test_registries_are_found():
    assert {"indicator", "loss", "method", "task", "steering method"} <= {r.kind for r, _ in _entries()}


def test_whatever_is_registered_has_a_source_a_summary_and_a_test():
    missing = []
    for registry, entry in _entries():
        module = str(entry.value.__module__)
        if module.partition(".")[0] not in ("pareto", "envs"):
            continue
        if not entry.source.strip():
            missing.append(f"{registry.kind} {entry.name}: no source")
        if len(entry.summary) < 10:
            missing.append(f"{registry.kind} {entry.name}: no docstring")
        if not _is_tested(entry.name, module):
            missing.append(f"{registry.kind} {entry.name}: no test file names it in tests/{_room(module)}")
    assert missing == []


def _room(module: str) -> str:
    return module.split(".")[1] if module.startswith("pareto.") else module.partition(".")[0]


def _is_tested(name: str, module: str) -> bool:
    """Whether a test file of the room is called after the module, or speaks of the entry by name."""
    stem = module.rpartition(".")[2]
    for path in (ROOT / "tests" / _room(module)).rglob("test_*.py"):
        if path.stem == f"test_{stem}" or name in path.read_text(encoding="utf-8"):
            return True
    return False


@pytest.mark.parametrize(
    "path",
    ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "SECURITY.md", "LICENSE", "NOTICE", "constraints.txt"],
)
def test_what_a_newcomer_looks_for_is_there(path):
    assert (ROOT / path).stat().st_size > 0
