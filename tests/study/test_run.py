"""A sweep, in this process: the run folder it leaves, what running it again does, what it refuses."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import Any

import moocore
import numpy as np
import pytest

import pareto
from pareto.errors import ConfigError, Interrupted, MachineError, UsageError
from pareto.state import manifest
from pareto.state.metrics import read_metrics
from pareto.study import run as study_run
from pareto.study.controller import Notice
from pareto.study.folder import only_sweep
from pareto.study.layout import RunFolder
from pareto.study.rescore import rescore
from pareto.study.status import sweep_status
from pareto.study.store import Store
from tests.study.conftest import make_study, registered_fakes


def go(study: Any, folder: Path, **options: Any) -> dict[str, Any]:
    study_run.run_study(study, folder, workers=0, **options)
    return json.loads((folder / "front.json").read_text())


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run, to be read only."""
    with registered_fakes():
        return study_run.run_study(
            make_study(), tmp_path_factory.mktemp("finished") / "run", workers=0
        ).folder


@pytest.fixture
def front(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "front.json").read_text())


def test_the_run_folder_is_as_promised(front: dict[str, Any], folder: Path) -> None:
    assert sorted(os.listdir(folder)) == [
        *("config.yaml", "front.csv", "front.json", "manifest.json", "metrics", "policies", "prerequisites"),
        *("samples", "scores", "sweep.db", "sweep.lock"),
    ]
    assert manifest.verify(folder) == []
    ids = [p["id"] for p in front["policies"]]
    assert len(ids) == 5
    for name, suffix in (("scores", ".npz"), ("samples", ".jsonl"), ("policies", "")):
        assert sorted(os.listdir(folder / name)) == sorted(f"{i}{suffix}" for i in ids)
    assert len(read_metrics(folder / "metrics" / f"{ids[0]}.jsonl")) == 12
    assert len((folder / "samples" / f"{ids[0]}.jsonl").read_text().splitlines()) == 4


def test_values_come_from_heldout_units(front: dict[str, Any], folder: Path) -> None:
    for policy in front["policies"]:
        with np.load(folder / "scores" / f"{policy['id']}.npz", allow_pickle=False) as scores:
            assert str(scores["split"]) == "heldout"
            assert scores["unit_ids"][0] == "heldout-0"
            assert [*policy["values"].values()] == pytest.approx(scores["values"].mean(axis=0))
            assert [*policy["selection"]["values"].values()] == pytest.approx(
                scores["selection"].mean(axis=0)
            )
            assert json.loads(str(scores["facts"]))["heldout"]["optimality_heldout"] == 0.9
        low, high = policy["ci95"]["gain"]
        assert low < policy["values"]["gain"] < high
        assert (policy["n"], policy["split"], policy["kind"]) == (16, "heldout", "fake")
        assert policy["kl_nats"] == policy["weights"]["gain"]
        assert (policy["text"], policy["kl_to_exact_nats"]) == (None, None)
        assert policy["needs"]["reference"].startswith("prerequisites/")


def test_reference_point_is_the_corners_nadir_on_the_selection_split(front: dict[str, Any]) -> None:
    corners = [p["selection"]["values"] for p in front["policies"] if 1.0 in p["weights"].values()]
    gain, cost = [c["gain"] for c in corners], [c["cost"] for c in corners]
    by_hand = [min(gain) - 0.1 * (max(gain) - min(gain)), max(cost) + 0.1 * (max(cost) - min(cost))]
    assert front["ref_point"] == pytest.approx(by_hand)
    assert front["ref_point_rule"] == "corners-10%"


def test_indicators_follow_from_the_values_alone(front: dict[str, Any]) -> None:
    """With moocore alone, which minimises: gain is negated."""
    values = np.array([[-p["values"]["gain"], p["values"]["cost"]] for p in front["policies"]])
    point = np.array([-front["ref_point"][0], front["ref_point"][1]])
    figures = front["indicators"]
    assert figures["hypervolume"] == pytest.approx(moocore.hypervolume(values, ref=point))
    low, high = figures["hypervolume_ci95"]
    assert low <= figures["hypervolume"] <= high
    assert figures["hypervolume_with_mixtures"] > figures["hypervolume"]
    assert (figures["cardinality"], figures["outside_ref_point"]) == (5, 0)
    for i, policy in enumerate(front["policies"]):
        rest = moocore.hypervolume(np.delete(values, i, axis=0), ref=point)
        assert policy["hypervolume_contribution"] == pytest.approx(figures["hypervolume"] - rest)
        assert policy["non_dominated"]


def test_exact_block_is_the_tasks(front: dict[str, Any]) -> None:
    assert front["exact"]["source"] == "closed form"
    assert front["exact"]["n"] == 5
    assert front["exact"]["front"][0] == [0.0, 0.0]


def test_cost_counts_everything(front: dict[str, Any]) -> None:
    assert front["cost"]["train_tokens"] == 7 + 5 * 120
    assert front["cost"]["generated_tokens"] == 2 * 5
    assert front["cost"]["wasted_tokens"] == 0
    assert front["cost"]["wall_s"] > 0


def test_table_has_one_row_per_policy(folder: Path) -> None:
    lines = (folder / "front.csv").read_text().splitlines()
    assert lines[0].startswith("id,seed,kind,weight_gain,weight_cost,gain,cost,low_gain")
    assert len(lines) == 6


def test_config_in_the_folder_reads_back(front: dict[str, Any], study: Any, folder: Path) -> None:
    from pareto.study.config import load_study

    read = load_study(folder / "config.yaml")
    assert read.sha256 == study().sha256 == front["provenance"]["config_sha256"]


def test_running_again_does_nothing_and_changes_nothing(study: Any, tmp_path: Path) -> None:
    go(study(), tmp_path / "run")
    before = {
        p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file() and "sweep" not in p.name
    }
    notices: list[Notice] = []
    go(study(), tmp_path / "run", notify=notices.append)
    assert [n.kind for n in notices] == ["plan"]
    after = {
        p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file() and "sweep" not in p.name
    }
    assert after == before


def test_more_weights_and_seeds_do_only_what_is_missing(study: Any, tmp_path: Path) -> None:
    few = go(study("weights.kind=random"), tmp_path / "run")
    outcome = study_run.run_study(
        study("weights.kind=random", "weights.n=6", "seeds=[0, 1]"), tmp_path / "run", workers=0
    )
    assert (outcome.n_new, outcome.n_done) == (1 + 6, 13)
    whole = go(study("weights.kind=random", "weights.n=6", "seeds=[0, 1]"), tmp_path / "fresh")
    many = outcome.front
    assert (
        many["ref_point"] == few["ref_point"] != whole["ref_point"]
    )  # frozen before the second seed was there
    assert [p["id"] for p in many["policies"]] == [p["id"] for p in whole["policies"]]
    assert manifest.verify(tmp_path / "run") == []


def test_fewer_weights_leave_the_rest_on_disk_but_out_of_the_front(study: Any, tmp_path: Path) -> None:
    go(study("weights.kind=random", "weights.n=6"), tmp_path / "run")
    outcome = study_run.run_study(study("weights.kind=random", "weights.n=4"), tmp_path / "run", workers=0)
    assert (len(outcome.front["policies"]), outcome.n_new, outcome.n_kept) == (4, 0, 2)
    again = go(study("weights.kind=random", "weights.n=6"), tmp_path / "run")
    assert len(again["policies"]) == 6


def test_a_margin_that_becomes_a_policy(study: Any, tmp_path: Path) -> None:
    inner = ("weights.kind=list", "weights.n=null")
    middle, corner = "{gain: 0.5, cost: 0.5}", "{gain: 1.0, cost: 0.0}"
    first = go(
        study(*inner, f"weights.list=[{middle}]", "score.ref_point={gain: -1, cost: 2}"), tmp_path / "run"
    )
    assert len(os.listdir(tmp_path / "run" / "prerequisites")) == 2
    assert first["cost"]["train_tokens"] == 7 + 240
    settings = (*inner, f"weights.list=[{corner}, {middle}]", "score.ref_point={gain: -1, cost: 2}")
    grown, fresh = go(study(*settings), tmp_path / "run"), go(study(*settings), tmp_path / "fresh")
    assert len(os.listdir(tmp_path / "run" / "prerequisites")) == 1  # the reference
    assert grown["provenance"]["content_sha256"] == fresh["provenance"]["content_sha256"]
    assert (grown["cost"]["wasted_tokens"], fresh["cost"]["wasted_tokens"]) == (120, 0)
    assert (tmp_path / "run" / grown["policies"][1]["needs"]["margin"]).is_dir()


def test_another_task_or_method_in_the_folder_is_refused_by_name(study: Any, tmp_path: Path) -> None:
    go(study(), tmp_path / "run")
    content = (tmp_path / "run" / "front.json").read_bytes()
    with pytest.raises(
        ConfigError, match=r"another study: method.rate was 1.0, now 2.0; task.seed was 0, now 5\. "
    ):
        go(study("task.seed=5", "method.rate=2.0"), tmp_path / "run")
    with pytest.raises(ConfigError, match=r"engine.threads was 1, now 2\. "):
        go(study("engine.threads=2"), tmp_path / "run")
    assert (tmp_path / "run" / "front.json").read_bytes() == content
    assert manifest.verify(tmp_path / "run") == []


def test_nan_is_quarantined_and_the_rest_stands(study: Any, tmp_path: Path) -> None:
    whole = go(study(), tmp_path / "whole")
    front = go(study("task.nan_for=0.5"), tmp_path / "run")
    (bad,) = front["quarantined"]
    assert bad["why"] == "nan in cost: 1 of 16 heldout units, first heldout-3"
    kept = [p["values"] for p in front["policies"]]
    assert kept == [p["values"] for p in whole["policies"] if p["weights"]["gain"] != 0.5]
    assert front["indicators"]["hypervolume"] > 0


def test_a_nan_corner_is_not_the_reference(study: Any, tmp_path: Path) -> None:
    front = go(study("task.nan_for=1.0"), tmp_path / "run")
    assert len(front["policies"]) == 4
    assert np.isfinite(front["ref_point"]).all()


def test_given_reference_point(study: Any, tmp_path: Path) -> None:
    front = go(study("score.ref_point={cost: 0.5, gain: 0.1}"), tmp_path / "run")
    assert (front["ref_point"], front["ref_point_rule"]) == ([0.1, 0.5], "given")
    assert front["indicators"]["outside_ref_point"] == 3
    assert front["policies"][0]["hypervolume_contribution"] == 0.0


def test_failed_cells_are_listed_and_tried_again_next_time(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = go(study(), tmp_path / "whole")
    monkeypatch.setenv("FAKE_FAIL", "0.5")
    notices: list[Notice] = []
    front = go(study(), tmp_path / "run", notify=notices.append)
    assert [f["why"] for f in front["failed"]] == ["RuntimeError: asked to fail"]
    assert [n.kind for n in notices if n.kind in ("retry", "failed")] == ["retry", "retry", "failed"]
    assert len(front["policies"]) == 4
    with Store(tmp_path / "run" / "sweep.db") as store:
        failure = store.row(front["failed"][0]["cell"]).failure or {}
    assert "fakes.py" in failure["traceback"]
    monkeypatch.delenv("FAKE_FAIL")
    assert (
        go(study(), tmp_path / "run")["provenance"]["content_sha256"] == whole["provenance"]["content_sha256"]
    )


def test_what_needs_a_failed_cell_says_so(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAKE_FAIL", "1")  # the corner that all others need as their margin
    front = go(study("weights.kind=random"), tmp_path / "run")
    assert front["policies"] == []
    assert len(front["failed"]) == 5
    assert {f["why"] for f in front["failed"][1:]} == {
        f"it needs cell {front['failed'][0]['cell']}, which failed"
    }
    assert front["ref_point"] is None
    assert front["indicators"]["hypervolume"] is None


def test_wrong_input_is_a_usage_error_at_once(study: Any, tmp_path: Path) -> None:
    notices: list[Notice] = []
    with pytest.raises(UsageError, match=r"rows.jsonl:3: expected an object"):
        go(study("task.bad_build=true"), tmp_path / "run", notify=notices.append)
    assert [n.kind for n in notices].count("retry") == 0


def test_stop_lets_go_and_resumes(study: Any, tmp_path: Path) -> None:
    whole = go(study(), tmp_path / "whole")
    seen: list[Notice] = []
    with pytest.raises(Interrupted):
        go(study(), tmp_path / "run", notify=seen.append, stop=lambda: len(seen) > 10)
    status = sweep_status(tmp_path / "run")
    assert (status.counts["running"], status.complete) == (0, False)
    assert 0 < status.counts["done"] < 6
    front = go(study(), tmp_path / "run")
    assert front["provenance"]["content_sha256"] == whole["provenance"]["content_sha256"]


def test_a_second_sweep_on_the_folder_is_refused(study: Any, tmp_path: Path) -> None:
    go(study(), tmp_path / "run")
    with (
        only_sweep(RunFolder(tmp_path / "run")),
        pytest.raises(UsageError, match=rf"another sweep is at work in .*process {os.getpid()}"),
    ):
        go(study(), tmp_path / "run")


def test_a_folder_with_other_things_is_refused(study: Any, tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("...")
    with pytest.raises(ConfigError, match=r"not empty and holds no sweep \(thesis.tex\)"):
        go(study(), tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]


def test_an_unwritable_folder_is_said_before_any_work(study: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be written"):
        go(study(), tmp_path / "file" / "run")
    closed = tmp_path / "closed"
    closed.mkdir()
    closed.chmod(stat.S_IRUSR | stat.S_IXUSR)
    if not os.access(closed, os.W_OK):  # root writes anywhere
        with pytest.raises(UsageError, match="cannot be written"):
            go(study(), closed)


def test_a_full_disk_stops_the_sweep_and_the_next_run_goes_on(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import errno

    whole = go(study(), tmp_path / "whole")
    real, calls = os.fsync, []

    def full(fd: int) -> None:
        calls.append(fd)
        if len(calls) > 60:
            raise OSError(errno.ENOSPC, "No space left on device")
        real(fd)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", full)
        with pytest.raises(MachineError, match="No space left"):
            go(study(), tmp_path / "run")
    front = go(study(), tmp_path / "run")
    assert front["provenance"]["content_sha256"] == whole["provenance"]["content_sha256"]


@pytest.mark.parametrize("name", ["model.pt", "weights.bin", "note.txt"])
def test_pickled_and_foreign_policy_files_are_refused(
    study: Any, fakes: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    real = fakes.FakeMethod.train

    def train(self: Any, cell: Any, task: Any, context: Any) -> Any:
        (context.folder / name).write_bytes(b"x")
        return real(self, cell, task, context)

    monkeypatch.setattr(fakes.FakeMethod, "train", train)
    with pytest.raises(UsageError, match=name):
        go(study(), tmp_path / "run")


def test_sweep_returns_the_policy_set(study: Any, tmp_path: Path) -> None:
    run = pareto.sweep(study(), out=tmp_path / "run", workers=0)
    assert run.values.shape == (5, 2)
    assert run.hypervolume() == pytest.approx(run.indicators["hypervolume"])
    with pytest.raises(ConfigError, match="no further settings"):
        pareto.sweep(study(), out=tmp_path / "run", set=["seeds=[1]"])


def test_scoring_again_finds_the_same(study: Any, tmp_path: Path) -> None:
    front = go(study(), tmp_path / "run")
    found = rescore(tmp_path / "run")
    assert found.changed == []
    assert found.policies == front["policies"]
    assert found.indicators["hypervolume"] == front["indicators"]["hypervolume"]
    wider = rescore(tmp_path / "run", set=["task.units=64"])
    assert [p["n"] for p in wider.policies] == [64] * 5
    assert len(wider.changed) == 5
    with pytest.raises(UsageError, match="split must be one of"):
        rescore(tmp_path / "run", "train")
