from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pareto.cli import main
from pareto.errors import ArtifactError
from pareto.report import publish
from tests.report.synthetic import write_run as write_synthetic


def write_run(folder: Path, m: int) -> Path:
    """A synthetic run with the table that a sweep writes."""
    run = write_synthetic(folder, m=m)
    (run / "front.csv").write_text("id\n")
    return run


def test_what_is_worth_committing(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", m=2)
    folder = publish(run, tmp_path / "reports" / "study")
    assert {p.name for p in folder.iterdir()} == {
        "config.yaml",
        "front.json",
        "front.csv",
        "report.md",
        "front.svg",
    }
    assert (folder / "front.json").read_bytes() == (run / "front.json").read_bytes()
    ElementTree.parse(folder / "front.svg")
    text = (folder / "report.md").read_text()
    front = json.loads((run / "front.json").read_text())
    assert text.startswith("# ")
    assert text.count("\n| ") >= len(front["policies"])
    first = (folder / "front.svg").read_bytes()
    publish(run, folder)
    assert (folder / "front.svg").read_bytes() == first  # the same run draws the same picture


def test_three_objectives_have_no_single_picture(tmp_path: Path) -> None:
    folder = publish(write_run(tmp_path / "run", m=3), tmp_path / "study")
    assert not (folder / "front.svg").exists()


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ArtifactError, match=r"no config\.yaml"):
        publish(tmp_path / "run", tmp_path / "study")


def test_publish_takes_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), str(tmp_path), "--publish", str(tmp_path)]) == 2
    assert "--publish takes one run folder" in capsys.readouterr().err
