"""Nothing in the package reads a pickle, runs text as code, trusts a model's code or opens a shell: its syntax trees say so."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted([*(ROOT / "pareto").rglob("*.py"), *(ROOT / "envs").rglob("*.py")])
MODULES = {
    "pickle",
    "_pickle",
    "cPickle",
    "pickle5",
    "dill",
    "cloudpickle",
    "joblib",
    "jsonpickle",
    "shelve",
    "marshal",
}
"""Modules whose loading runs code."""
CALLS = {
    *("torch.load", "torch.save", "torch.jit.load", "torch.hub.load", "numpy.loads", "scipy.io.loadmat", "runpy.run_path", "runpy.run_module"),
    *("eval", "exec", "compile", "__import__", "breakpoint", "os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"),
    *("yaml.load", "yaml.load_all", "yaml.full_load", "yaml.full_load_all", "yaml.unsafe_load", "yaml.unsafe_load_all"),
    *("yaml.Loader", "yaml.FullLoader", "yaml.UnsafeLoader", "yaml.CLoader", "tempfile.mktemp", "ssl._create_unverified_context"),
}  # fmt: skip
METHODS = {"read_pickle", "to_pickle", "load_extension", "from_pickle"}
"""Names that are refused whatever they are called on."""
KEYWORDS = {
    ("trust_remote_code", True), ("allow_pickle", True), ("shell", True), ("weights_only", False), ("use_safetensors", False),
    ("safe_serialization", False), ("verify", False), ("use_auth_token", True),
}  # fmt: skip
"""(keyword, value) that no call and no default may have."""
IMPORTS = {
    "envs/__init__.py": "modules of the environments, by walking them",
    "pareto/__init__.py": "names of this package that are loaded when used",
    "pareto/cli/__init__.py": "this package's commands",
    "pareto/cli/list.py": "this package's registries",
    "pareto/env_loader.py": "the environments, under one of two names",
    "pareto/registry.py": "modules of a room, by walking it",
    "pareto/study/config.py": "what the command line names with --import",
    "pareto/tasks/env/sources.py": "the module of an environment that a user's config names; run folders are held to --import",
}
"""Where a module is imported by a name that is not written there -> whose name it is."""


def faults(tree: ast.Module, dynamic_imports: bool = False) -> Iterator[tuple[int, str]]:
    """(line, what) of everything in a module that should not be there.

    Args:
        tree: of the module.
        dynamic_imports: importing by a name that is computed is known and looked at.
    """
    known = dict(_imported(tree))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import | ast.ImportFrom):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else [a.name for a in node.names]
            yield from ((node.lineno, f"imports {n}") for n in names if n.partition(".")[0] in MODULES)
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = _name(node, known)
            yield from [(node.lineno, f"uses {name}")] * (name in CALLS)
        if isinstance(node, ast.Attribute) and node.attr in METHODS:
            yield node.lineno, f"uses {node.attr}"
        if isinstance(node, ast.Call):
            yield from _call_faults(node, _name(node.func, known), dynamic_imports)
        for word, value in _defaults(node):
            if (word, getattr(value, "value", None)) in KEYWORDS:
                yield value.lineno, f"sets {word}"


def _call_faults(node: ast.Call, name: str, dynamic_imports: bool) -> Iterator[tuple[int, str]]:
    for keyword in node.keywords:
        if (keyword.arg, getattr(keyword.value, "value", None)) in KEYWORDS:
            yield node.lineno, f"sets {keyword.arg}"
    if name == "numpy.load" and len(node.args) > 2:
        yield node.lineno, "numpy.load with allow_pickle by position"
    if (
        name == "importlib.import_module"
        and not dynamic_imports
        and not isinstance(node.args[0], ast.Constant)
    ):
        yield node.lineno, "imports a module whose name is not written there"


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name in the module -> what it stands for, of everything imported anywhere in it."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for a in node.names:
                yield (a.asname, a.name) if a.asname else (a.name.partition(".")[0], a.name.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            yield from ((a.asname or a.name, f"{node.module}.{a.name}") for a in node.names)


def _name(node: ast.expr, known: dict[str, str]) -> str:
    """Dotted name, with imported names written out; "" where it is none."""
    if isinstance(node, ast.Attribute):
        inner = _name(node.value, known)
        return f"{inner}.{node.attr}" if inner else ""
    return known.get(node.id, node.id) if isinstance(node, ast.Name) else ""


def _defaults(node: ast.AST) -> Iterator[tuple[str, ast.expr]]:
    """(name, default) of a function's parameters, or of a class's field."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and node.value is not None:
        yield node.target.id, node.value
    if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
        a = node.args
        for parameter, default in [*zip(a.args[::-1], a.defaults[::-1]), *zip(a.kwonlyargs, a.kw_defaults)]:
            if default is not None:
                yield parameter.arg, default


def test_nothing_unsafe_is_in_the_package() -> None:
    found = []
    for path in SOURCES:
        name = path.relative_to(ROOT).as_posix()
        tree = ast.parse(path.read_text(encoding="utf-8"), name)
        found += [f"{name}:{line}: {what}" for line, what in faults(tree, name in IMPORTS)]
    assert found == []


def test_the_places_that_import_by_name_still_do() -> None:
    for name in IMPORTS:
        tree = ast.parse((ROOT / name).read_text(encoding="utf-8"))
        assert any("whose name is not written" in what for _, what in faults(tree)), name


BAD = """
import pickle
from joblib import load
import marshal as m
from cloudpickle.cloudpickle import dumps
import torch as t; t.load("x")
from torch import load as innocent; innocent("x")
import numpy as np; np.load("x", allow_pickle=True)
np.load("x", None, True)
frame.to_pickle("x")
eval("1")
exec("1")
run = exec
import yaml; yaml.load("x", Loader=yaml.SafeLoader)
class Own(yaml.UnsafeLoader): ...
import subprocess; subprocess.run("ls", shell=True)
import os; os.system("ls")
f(trust_remote_code=True)
def g(a, *, trust_remote_code=True): ...
class C: trust_remote_code: bool = True
h = lambda weights_only=False: 0
AutoModel.from_pretrained("x", use_safetensors=False)
import importlib; importlib.import_module(name)
from importlib import import_module; import_module(name + "x")
"""
FINE = """
import re, json, importlib
import numpy as np
re.compile("x")
np.load("x", allow_pickle=False)
f(trust_remote_code=False)
f(trust_remote_code=trusted)
model.eval()
importlib.import_module("mo_gymnasium")
import yaml
class Own(yaml.SafeLoader): ...
yaml.dump({}, Dumper=yaml.SafeDumper)
def g(shell=None, verify=True): ...
"""


@pytest.mark.parametrize("line", [i for i, text in enumerate(BAD.splitlines(), 1) if text])
def test_the_walk_finds_what_it_looks_for(line: int) -> None:
    assert line in {at for at, _ in faults(ast.parse(BAD))}


def test_the_walk_lets_be_what_is_fine() -> None:
    assert list(faults(ast.parse(FINE))) == []
