import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from pareto.errors import UsageError
from pareto.report import Report, write_report
from pareto.report.writing import to_csv
from pareto.state import manifest


@pytest.fixture
def run(folder: Callable[..., Path], tmp_path: Path) -> Path:
    return Path(shutil.copytree(folder("few", n=3, units=16), tmp_path / "few"))


def test_one_run_reports_into_its_own_folder_twice_the_same_and_stays_verifiable(run: Path) -> None:
    before = {p.name for p in run.iterdir()}
    assert write_report(run) == run / "report.html"
    first = (run / "report.html").read_bytes()
    assert write_report([run]).read_bytes() == first
    assert {p.name for p in run.iterdir()} - before == {"report.html", "report.json"}
    assert manifest.verify(run) == []
    assert Report.from_json(json.loads((run / "report.json").read_text())).runs[0].name == "few"


def test_several_runs_report_here(
    run: Path, folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert write_report([run, folder("cheap", drift=0.9, method="soup", n=3, units=16)]) == Path(
        "report.html"
    )
    assert {p.name for p in tmp_path.glob("report.*")} == {"report.html", "report.json", "report.csv"}


def test_another_place_makes_its_folders(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "a" / "b" / "page.html")
    assert {p.name for p in page.parent.iterdir()} == {"page.html", "page.json", "page.csv"}


def test_the_table_holds_every_policy(run: Path, tmp_path: Path) -> None:
    page = write_report(run, tmp_path / "out.html")
    rows = list(csv.DictReader(page.with_suffix(".csv").read_text().splitlines()))
    policies = json.loads((run / "front.json").read_text())["policies"]
    assert [r["id"] for r in rows] == [p["id"] for p in policies]
    for row, policy in zip(rows, policies):
        assert float(row["value_helpful"]) == policy["values"]["helpful"]
        assert float(row["weight_brief"]) == policy["weights"]["brief"]
        assert [float(row["ci95_low_brief"]), float(row["ci95_high_brief"])] == policy["ci95"]["brief"]
        assert float(row["selection_helpful"]) == policy["selection"]["values"]["helpful"]
        assert float(row["length_tokens"]) == policy["text"]["length_tokens"]


def test_the_table_leaves_out_what_nobody_knows(report: Callable[..., Report]) -> None:
    header = to_csv(report("imported", sparse=True, exact=False)).splitlines()[0].split(",")
    assert header == ["run", "id", "kind", "seed", "value_helpful", "value_brief", "non_dominated", "hypervolume_contribution", "knee"]  # fmt: skip


@pytest.mark.parametrize("out", ["report.json", "report", "few"])
def test_a_page_is_html(run: Path, tmp_path: Path, out: str) -> None:
    with pytest.raises(UsageError, match=r"\.html"):
        write_report(run, tmp_path / out)


@pytest.mark.parametrize("name", ["front.html", "manifest.html"])
def test_a_runs_own_files_are_never_overwritten(run: Path, name: str) -> None:
    with pytest.raises(UsageError, match=r"called report\.html"):
        write_report(run, run / name)
    assert manifest.verify(run) == []


def test_a_place_that_is_no_folder(run: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot write"):
        write_report(run, tmp_path / "file" / "report.html")
