"""What a worker does around a fit call: reports, stops, pins threads, checks what was written."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest

from pareto.cells import Cell, Cost
from pareto.errors import ArtifactError, Interrupted
from pareto.state import trackers
from pareto.state.metrics import read_metrics
from pareto.study import work
from pareto.study.layout import RunFolder
from pareto.study.machine import device, dtype
from pareto.study.work import Reporter, do_job


def test_reports_are_thinned_but_the_first_and_last_of_a_job_go_out() -> None:
    sent: list[int] = []
    reporter = Reporter(every_s=1000.0)
    for _ in range(2):  # a worker lives for many jobs
        reporter.begin(lambda done, total, figures: sent.append(done))
        for done in range(6):
            reporter.progress(done, 5, {"loss": float("nan")})
    assert sent == [0, 5, 0, 5]


def test_what_is_not_finite_is_not_sent() -> None:
    sent: list[Any] = []
    reporter = Reporter(lambda done, total, figures: sent.append(dict(figures)))
    reporter.progress(1, 2, {"a": float("inf"), "b": 1})
    assert sent == [{"b": 1.0}]


def test_a_stop_comes_up_at_the_next_report() -> None:
    reporter = Reporter()
    reporter.progress(0, 1, {})
    reporter.stopped = True
    with pytest.raises(Interrupted):
        reporter.progress(1, 1, {})


def test_threads_are_pinned_before_torch_is_imported() -> None:
    script = (
        "from pareto.study.machine import pin_threads; import sys; pin_threads(1); "
        "assert 'torch' not in sys.modules; import torch; print(torch.get_num_threads()); "
        "pin_threads(2); print(torch.get_num_threads())"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", script], env=environment, check=True, capture_output=True, text=True
    )
    assert done.stdout.split() == ["1", "2"]


def test_cpu_is_settled_without_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)  # importing it would fail
    assert device("cpu") == "cpu"


def job(fakes: Any, study: Any, tmp_path: Path) -> tuple[dict[str, Any], RunFolder]:
    """A policy cell's job, with its reference made."""
    run = RunFolder(tmp_path)
    reference = fakes.FakeTask().prerequisites()["reference"]
    made = do_job(
        study, run, {"kind": "cell", "cell": reference.to_json(), "needs": {}, "task_needs": {}}, Reporter()
    )
    assert made["home"] == f"prerequisites/{reference.id}"
    needs = {"reference": str(run.scratch(reference.id) / "fitted" / "files")}
    cell = Cell("policy", "method", {}, {}, {"gain": 0.5, "cost": 0.5})
    return {"kind": "cell", "cell": cell.to_json(), "needs": {}, "task_needs": needs}, run


def test_a_fitted_cell_is_only_scored_again(
    fakes: Any, study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = study()
    todo, run = job(fakes, made, tmp_path)
    sent: list[Any] = []
    first = do_job(made, run, todo, Reporter())
    monkeypatch.setattr(fakes.FakeMethod, "train", lambda *args: pytest.fail("trained twice"))
    again = do_job(made, run, todo, Reporter(lambda done, total, figures: sent.append(figures["tokens"])))
    assert sent == [120.0]  # it says where it goes on, so that nothing counts as wasted
    for result in (first, again):
        for volatile in ("wall_s", "peak_rss_mb"):
            del result["cost"][volatile]
    assert again == first
    assert first["home"] == f"policies/{first['policies'][0]['id']}"
    assert first["cost"] == {
        k: v for k, v in Cost(120, 2).__dict__.items() if k not in ("wall_s", "peak_rss_mb")
    }


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda f, c: (f / "note.json").write_text(json.dumps({"base": f"{f}/x"})), "holds the path"),
        (lambda f, c: (f / "link.json").symlink_to("/etc/hostname"), "link"),
        (lambda f, c: (f / "weights.pth").write_bytes(b""), "no pickled files"),
    ],
)
def test_policy_files_that_may_not_be(
    fakes: Any, study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Any, message: str
) -> None:
    made = study()
    todo, run = job(fakes, made, tmp_path)
    real = fakes.FakeMethod.train

    def train(self: Any, cell: Any, task: Any, context: Any) -> Any:
        spoil(context.folder, cell)
        return real(self, cell, task, context)

    monkeypatch.setattr(fakes.FakeMethod, "train", train)
    with pytest.raises(ArtifactError, match=message):
        do_job(made, run, todo, Reporter())
    scratch = run.scratch(Cell.from_json(todo["cell"]).id)
    assert not (scratch / "fitted").exists()


def many(fakes: Any, names: list[str], folders: list[str]) -> Any:
    """A train function that makes several policies in folders of their own."""

    def train(self: Any, cell: Any, task: Any, context: Any) -> Any:
        policies = []
        for name, folder in zip(names, folders):
            place = context.folder / folder
            place.mkdir(exist_ok=True)
            (place / "policy.json").write_text(json.dumps({"weight": 0.25, "total": 0.0}))
            policies.append(work.PolicyFiles(name.replace("ID", cell.id), "fake", place, None))
        return work.Fitted(tuple(policies))

    return train


def test_a_cell_may_make_many_policies(
    fakes: Any, study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pareto.study.run import run_study

    monkeypatch.setattr(fakes.FakeMethod, "train", many(fakes, ["ID-0", "ID-1"], ["a", "b"]))
    made = study("method.margins=false", "weights.n=2")
    front = run_study(made, tmp_path / "run", workers=0).front
    assert len(front["policies"]) == 4
    assert front["policies"][0]["weights"] is None
    ids = sorted(p["id"] for p in front["policies"])
    assert sorted(p.name for p in (tmp_path / "run" / "policies").iterdir()) == ids
    assert (
        len(list((tmp_path / "run" / "prerequisites").iterdir())) == 1
    )  # nothing is left over of such a cell


@pytest.mark.parametrize(
    ("names", "folders", "message"),
    [
        ([], [], "at least one policy"),
        (["other"], ["a"], "must begin with its cell's id"),
        (["ID-0", "ID-1"], ["a", "a"], "a folder of its own"),
        (["ID-0", "ID-1"], [".", "a"], "a folder of its own"),
        (["ID/../../x"], ["a"], "must match"),
    ],
)
def test_policies_that_would_collide(
    fakes: Any,
    study: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: Any,
    folders: Any,
    message: str,
) -> None:
    made = study()
    todo, run = job(fakes, made, tmp_path)
    monkeypatch.setattr(fakes.FakeMethod, "train", many(fakes, names, folders))
    with pytest.raises(ArtifactError, match=message):
        do_job(made, run, todo, Reporter())


def test_trackers_hear_what_the_metric_log_holds(
    fakes: Any, study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    heard: list[Any] = []

    class Heard:
        def __init__(self, project: str, run: str, folder: Path) -> None:
            heard.append((project, run, folder))

        def log(self, values: Any, step: int) -> None:
            heard.append({"step": step, **values})

        def finish(self) -> None:
            heard.append("end")

    monkeypatch.setattr(trackers, "_MAKERS", {"wandb": Heard})
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: ModuleSpec(name, None, origin=name))
    todo, run = job(fakes, study(), tmp_path)
    do_job(study('engine.trackers=["wandb"]'), run, todo, Reporter())
    cell = Cell.from_json(todo["cell"]).id
    rows = read_metrics(run.scratch(cell) / "metrics.jsonl")
    assert heard == [("fake", cell, run.trackers), *rows, "end"]
    assert rows


def test_what_only_observes_does_not_make_another_study(study: Any) -> None:
    assert study('engine.trackers=["wandb"]').sha256 == study().sha256
    assert study("engine.dtype=auto").sha256 != study().sha256


def test_automatic_arithmetic_is_settled_by_the_device() -> None:
    assert [dtype(name, "cpu") for name in ("auto", "bfloat16", "float32")] == [
        "float32",
        "bfloat16",
        "float32",
    ]
