"""What holds for every file: it imports, it prints nothing, it unpickles nothing, and what it registers is documented and tested."""

from __future__ import annotations

import ast
import importlib
import pkgutil
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from pareto.registry import Entry, Registry

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "pareto").rglob("*.py"), *(ROOT / "envs").rglob("*.py")])
UNSAFE_MODULES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}


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


def _name(node: ast.expr) -> str:
    """Dotted name of a call's target: "torch.load", "print"; "" where it is no name."""
    if isinstance(node, ast.Attribute):
        return f"{_name(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _faults(path: Path) -> Iterator[str]:
    for node in ast.walk(_tree(path)):
        at = f"{path.relative_to(ROOT)}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            for name in names:
                if name.partition(".")[0] in UNSAFE_MODULES:
                    yield f"{at}: imports {name}"
        elif isinstance(node, ast.Call):
            name = _name(node.func)
            if name == "print" and path.relative_to(ROOT).parts[:2] != ("pareto", "cli"):
                yield f"{at}: prints"
            if name in ("torch.load", "torch.save", "pandas.read_pickle", "eval", "exec"):
                yield f"{at}: calls {name}"
            for keyword in node.keywords:
                if (
                    keyword.arg in ("trust_remote_code", "allow_pickle")
                    and getattr(keyword.value, "value", None) is True
                ):
                    yield f"{at}: sets {keyword.arg}=True"
        elif any(
            _name(target) == "trust_remote_code" and _is_true(default) for target, default in _defaults(node)
        ):
            yield f"{at}: trusts remote code by default"


def _is_true(node: ast.expr | None) -> bool:
    return isinstance(node, ast.Constant) and node.value is True


def _defaults(node: ast.AST) -> Iterator[tuple[ast.expr, ast.expr | None]]:
    """(name, default) of a function's parameters, or of a class's field."""
    if isinstance(node, ast.AnnAssign):
        yield node.target, node.value
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        a = node.args
        for parameter, default in [*zip(a.args[::-1], a.defaults[::-1]), *zip(a.kwonlyargs, a.kw_defaults)]:
            yield ast.Name(parameter.arg), default


def test_nothing_prints_outside_the_command_line_and_nothing_unsafe_is_called():
    assert [fault for path in SOURCES for fault in _faults(path)] == []


def test_the_walk_finds_what_it_looks_for(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    file = tmp_path / "bad.py"
    file.write_text(
        "import pickle\nfrom joblib import load\nprint(1)\ntorch.load('x')\nnp.load('x', allow_pickle=True)\n"
        "f(trust_remote_code=True)\ndef g(a, *, trust_remote_code=True): ...\nclass C:\n    trust_remote_code: bool = True\n"
        "f(trust_remote_code=False)\nnp.load('x', allow_pickle=False)\n"
    )
    assert [fault.partition(": ")[0] for fault in _faults(file)] != []
    assert sorted(int(fault.split(":")[1]) for fault in _faults(file)) == [1, 2, 3, 4, 5, 6, 7, 9]


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
    "path", ["README.md", "CHANGELOG.md", "CONTRIBUTING.md", "LICENSE", "NOTICE", "constraints.txt"]
)
def test_what_a_newcomer_looks_for_is_there(path):
    assert (ROOT / path).stat().st_size > 0
