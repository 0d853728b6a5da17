"""The registry: found by walking, refused when doubled, named when unknown."""

from __future__ import annotations

import sys

import pytest

from pareto.errors import UnknownNameError
from pareto.registry import Registry

MODULE = '''
from made_up_room import THINGS

@THINGS.register("{name}", source="by hand")
def thing():
    """Do {name}."""
'''


@pytest.fixture
def room(tmp_path, monkeypatch):
    """A package with three modules: two register a thing, one is private and would fail."""
    package = tmp_path / "made_up_room"
    package.mkdir()
    (package / "__init__.py").write_text(
        "from pareto.registry import Registry\nTHINGS = Registry('thing', 'made_up_room')\n"
    )
    (package / "alpha.py").write_text(MODULE.format(name="alpha"))
    (package / "beta.py").write_text(MODULE.format(name="second"))
    (package / "_private.py").write_text("raise RuntimeError")
    monkeypatch.syspath_prepend(str(tmp_path))
    yield package
    for name in [n for n in sys.modules if n.partition(".")[0] == "made_up_room"]:
        del sys.modules[name]


def things():
    return __import__("made_up_room").THINGS


def test_a_name_imports_its_namesake_only(room):
    assert things().entry("alpha").summary == "Do alpha."
    assert "made_up_room.beta" not in sys.modules


def test_a_thing_is_found_in_a_module_of_another_name(room):
    assert things().get("second").__module__ == "made_up_room.beta"


def test_names_are_sorted_and_complete(room):
    assert things().names() == ["alpha", "second"]
    assert [e.source for e in things()] == ["by hand", "by hand"]


def test_an_unknown_name_names_its_neighbour(room):
    with pytest.raises(UnknownNameError, match=r"unknown thing 'alpa' .did you mean 'alpha'.*alpha, second"):
        things().get("alpa")


def test_a_broken_import_inside_a_module_is_not_hidden(room):
    (room / "gamma.py").write_text("import no_such_package_anywhere")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_anywhere"):
        things().get("gamma")


def test_a_package_that_is_not_there_holds_nothing():
    registry = Registry("thing", "pareto.no_such_room")
    assert registry.names() == []
    with pytest.raises(UnknownNameError, match="known: none"):
        registry.get("anything")


def test_a_source_is_needed():
    with pytest.raises(ValueError, match="must state its source"):
        Registry("thing").register("x", source="")


def test_two_modules_cannot_share_a_name():
    registry = Registry("thing")

    def one():
        pass

    def other():
        pass

    other.__module__ = "elsewhere"
    registry.register("x", source="s")(one)
    registry.register("x", source="s")(one)  # a module imported again replaces itself
    with pytest.raises(ValueError, match="registered twice"):
        registry.register("x", source="s")(other)
    assert registry.get("x") is one
