"""`pareto config` shows, checks and describes studies."""

from __future__ import annotations

import json
from typing import Literal

import pytest

from pareto.config import Config
from pareto.methods import METHODS
from pareto.objectives import Objectives
from pareto.study.config import load_study
from pareto.tasks import TASKS


class Toy(Config):
    """A toy task."""

    kind: Literal["toy"] = "toy"

    @property
    def objectives(self) -> Objectives:
        return Objectives(["a", "b"])


class Fit(Config):
    """A toy method."""

    name: Literal["fit"] = "fit"
    lr: float = 0.1


@pytest.fixture
def file(tmp_path, temporary):
    temporary(TASKS, METHODS, empty=True)
    TASKS.register("toy", source="made up for this test")(Toy)  # type: ignore[arg-type]
    METHODS.register("fit", source="made up for this test")(Fit)  # type: ignore[arg-type]  # never trained
    path = tmp_path / "x.yaml"
    path.write_text("study: s\ntask: {kind: toy}\nmethod: {name: fit, lr: 1e-5}\n")
    return path


def test_show_prints_the_resolved_study(pareto, file, tmp_path):
    code, out, _ = pareto("config", "show", file, "--set", "seeds=[4]", "--set", "engine.workers=1")
    assert code == 0
    again = tmp_path / "again.yaml"
    again.write_text(out)
    assert load_study(again) == load_study(file, ["seeds=[4]", "engine.workers=1"])


def test_check_says_fine_or_what_is_wrong(pareto, file):
    code, out, _ = pareto("config", "check", file)
    assert code == 0
    assert "study 's', task toy, method fit: fine" in out
    code, out, err = pareto("config", "check", file, "--set", "method.lrr=1")
    assert (code, out) == (2, "")
    assert (
        err
        == "pareto config: --set method.lrr=1: unknown key 'method.lrr' (did you mean 'lr'?); known: lr, name\n"
    )


def test_a_file_is_asked_for(pareto, file):
    code, _, err = pareto("config", "check")
    assert code == 2
    assert "expected a file: pareto config check CONFIG" in err
    assert pareto("config", "check", file.with_name("absent.yaml"))[0] == 2


def test_schema_is_json(pareto, file):
    code, out, _ = pareto("config", "schema")
    assert code == 0
    assert json.loads(out)["properties"]["method"]["oneOf"][0]["title"] == "fit"
