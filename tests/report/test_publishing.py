from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from pareto.cli import main
from pareto.errors import ArtifactError
from pareto.report import build, publish, read_run
from pareto.report.stills import write_stills
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


def test_of_three_objectives_every_two_are_in_the_picture(tmp_path: Path) -> None:
    folder = publish(write_run(tmp_path / "run", m=3), tmp_path / "study")
    ElementTree.parse(folder / "front.svg")


@pytest.mark.parametrize(
    ("m", "names"),
    [
        (1, set()),
        (2, {"front", "cost"}),
        (3, {"matrix", "parallel", "weights", "cost"}),
        (6, {"matrix", "parallel", "cost"}),
    ],
)
def test_stills_are_vector_and_pixel_files(tmp_path: Path, m: int, names: set[str]) -> None:
    run = build([read_run(write_synthetic(tmp_path / "run", m=m, n=m + 4, units=16))]).runs[0]
    files = write_stills(run, tmp_path / "figures")
    assert {path.name for path in files} == {
        f"{name}{suffix}" for name in names for suffix in (".svg", ".png")
    }
    for path in files:
        if path.suffix == ".svg":
            ElementTree.parse(path)
        else:
            assert path.read_bytes().startswith(b"\x89PNG")
    first = {path: path.read_bytes() for path in files}
    assert {path: path.read_bytes() for path in write_stills(run, tmp_path / "figures")} == first


def test_figures_of_several_runs_lie_in_folders_of_their_own(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = [str(write_synthetic(tmp_path / name, n=3, units=16)) for name in ("one", "two")]
    arguments = ["--out", str(tmp_path / "page.html"), "--figures", str(tmp_path / "figures")]
    assert main(["report", *runs, *arguments]) == 0
    assert "figures: " in capsys.readouterr().out
    assert (tmp_path / "figures" / "two" / "front.png").is_file()


def test_an_unfinished_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(ArtifactError, match=r"no config\.yaml"):
        publish(tmp_path / "run", tmp_path / "study")


def test_publish_takes_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(tmp_path), str(tmp_path), "--publish", str(tmp_path)]) == 2
    assert "--publish takes one run folder" in capsys.readouterr().err
