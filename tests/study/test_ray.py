"""A real Ray cluster of two nodes on this machine: what a sweep says does not depend on it, nor on a node that dies."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pareto.errors import Interrupted, MachineError, UsageError
from pareto.state import manifest
from pareto.study.controller import Notice
from pareto.study.engines import ray as engine
from pareto.study.run import run_study
from pareto.study.store import Store

ray = pytest.importorskip("ray", reason="needs the extra `ray`")

NODE = {"num_cpus": 1, "object_store_memory": 80 << 20, "include_dashboard": False}
QUICK = {
    "health_check_initial_delay_ms": 1000,
    "health_check_period_ms": 500,
    "health_check_timeout_ms": 1000,
    "health_check_failure_threshold": 4,
}
"""A node that is gone is noticed within seconds."""


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """Two nodes with one core each; the second one may be killed, and is then replaced."""
    from ray.cluster_utils import Cluster

    before, calls = dict(os.environ), tmp_path_factory.mktemp("calls")
    os.environ.update(
        PYTHONPATH=os.pathsep.join(p or os.getcwd() for p in sys.path),
        RAY_USAGE_STATS_ENABLED="0",
        RAY_ENABLE_UV_RUN_RUNTIME_ENV="0",
        RAY_worker_niceness="0",  # beside other tests, work that yields to them would not end
        FAKE_DELAY_S="0.15",
        FAKE_CALL=str(calls),
    )
    nodes = Cluster(initialize_head=True, head_node_args={**NODE, "_system_config": QUICK})
    ray.init(address=nodes.address, log_to_driver=False, logging_level="error")
    nodes.second, nodes.calls = nodes.add_node(**NODE), calls
    yield nodes
    ray.shutdown()
    nodes.shutdown()
    os.environ.clear()
    os.environ.update(before)


def content(folder: Path) -> Any:
    front = json.loads((folder / "front.json").read_text())
    return front["provenance"]["content_sha256"]


@pytest.fixture
def expected(study: Any, tmp_path: Path) -> str:
    run_study(study(), tmp_path / "here", workers=0)
    return content(tmp_path / "here")


def test_two_nodes_give_what_this_process_gives(
    cluster: Any, study: Any, tmp_path: Path, expected: str
) -> None:
    run_study(study("engine.kind=ray"), tmp_path / "run", workers=2)
    assert content(tmp_path / "run") == expected
    assert manifest.verify(tmp_path / "run") == []
    for name in ("policies", "prerequisites", "scores", "samples", "metrics"):
        there, here = tmp_path / "run" / name, tmp_path / "here" / name
        assert manifest.digests(there) == manifest.digests(here)
    assert not (tmp_path / "run" / "scratch").exists()


def test_a_node_that_is_killed_costs_one_attempt_of_its_cell(
    cluster: Any, study: Any, tmp_path: Path, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each node has one core, so of two cells at work one is on the node that is killed; its checkpoints were sent before."""
    monkeypatch.setattr(engine, "UPLOAD_EVERY_S", 0.0)
    at_work: dict[str, int] = {}
    seen: list[Notice] = []

    def watch(notice: Notice) -> None:
        seen.append(notice)
        if notice.cell is None:
            return
        if notice.kind == "progress":
            at_work[notice.cell.id] = notice.data["done"]
        elif notice.kind != "start":
            at_work.pop(notice.cell.id, None)
        if sum(done >= 6 for done in at_work.values()) == 2 and cluster.second is not None:
            cluster.remove_node(cluster.second, allow_graceful=False)
            cluster.second = None

    outcome = run_study(study("engine.kind=ray"), tmp_path / "run", workers=2, notify=watch)
    cluster.second = cluster.add_node(**NODE)
    (died,) = [n for n in seen if n.kind == "retry"]
    assert "was lost" in died.data["message"]
    assert content(tmp_path / "run") == expected
    assert manifest.verify(tmp_path / "run") == []
    with Store(tmp_path / "run" / "sweep.db") as store:
        assert sorted(row.attempts for row in store.rows())[-2:] == [1, 2]
    # it had reported six steps or more and had a checkpoint at step four, of ten tokens each
    assert 0 < outcome.front["cost"]["wasted_tokens"] <= (12 - 4) * 10


def test_offline_mode_reaches_every_node(
    cluster: Any, study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PARETO_OFFLINE", "1")
    run_study(study("engine.kind=ray", "weights.n=3", "task.seed=5"), tmp_path / "run", workers=2)
    made = [cell.name for cell in (tmp_path / "run" / "policies").iterdir()]
    assert [(cluster.calls / name).read_text() for name in made] == ["OfflineError"] * 3


def test_a_stop_reaches_every_node(cluster: Any, study: Any, tmp_path: Path, expected: str) -> None:
    seen: list[Notice] = []
    with pytest.raises(Interrupted):
        run_study(
            study("engine.kind=ray"),
            tmp_path / "run",
            workers=2,
            notify=seen.append,
            stop=lambda: any(n.kind == "progress" for n in seen),
        )
    assert any(n.kind == "stopped" for n in seen)
    run_study(study(), tmp_path / "run", workers=0)  # and another engine goes on
    assert content(tmp_path / "run") == expected


def test_a_failure_comes_back_with_its_traceback(cluster: Any, study: Any, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()  # what was there before is not taken away
    with pytest.raises(UsageError, match=r"rows.jsonl:3: expected an object"):
        run_study(study("engine.kind=ray", "task.bad_build=true"), tmp_path / "run", workers=2)
    with Store(tmp_path / "run" / "sweep.db") as store:
        failure = store.rows()[0].failure
    assert failure is not None
    assert "in build" in failure["traceback"]


def test_no_cluster_there(study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setenv("RAY_ADDRESS", "127.0.0.1:1")

    def absent(**options: Any) -> None:
        raise ConnectionError(f"nobody at {options['address']}")

    monkeypatch.setattr(ray, "init", absent)
    with pytest.raises(MachineError, match=r"no Ray cluster at '127.0.0.1:1' \(RAY_ADDRESS\): nobody"):
        run_study(study("engine.kind=ray"), tmp_path / "run", workers=1)
