"""A metric log that was killed and resumed reads as if nothing had happened."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pareto.errors import ArtifactError
from pareto.state.metrics import MetricLog, read_metrics


def write(path: Path, first: int, last: int) -> None:
    with MetricLog(path) as log:
        for step in range(first, last + 1):
            log.append({"step": step, "loss": 1.0 / step})


def test_resumed_log_equals_uninterrupted(tmp_path: Path) -> None:
    write(tmp_path / "whole", 1, 10)
    write(tmp_path / "killed", 1, 7)  # the checkpoint was at step 4
    write(tmp_path / "killed", 5, 10)
    assert (tmp_path / "killed").read_bytes() == (tmp_path / "whole").read_bytes()


def test_every_torn_end_is_survived(tmp_path: Path) -> None:
    write(tmp_path / "whole", 1, 4)
    whole = (tmp_path / "whole").read_bytes()
    for cut in range(0, len(whole), 3):
        path = tmp_path / "torn"
        path.write_bytes(whole[:cut])
        steps = [record["step"] for record in read_metrics(path)]
        assert steps == list(range(1, len(steps) + 1))
        write(path, len(steps) + 1, 4) if len(steps) < 4 else None
        assert path.read_bytes() == whole


def test_a_record_is_there_at_once(tmp_path: Path) -> None:
    log = MetricLog(tmp_path / "m")
    log.append({"step": 1, "x": np.float32(0.5), "bad": float("nan"), "inf": np.inf})
    assert read_metrics(tmp_path / "m") == [{"step": 1, "x": 0.5, "bad": None, "inf": None}]
    log.append({"step": np.int64(1), "eval": 2})  # a second record of the same step stays
    log.close()
    assert len(read_metrics(tmp_path / "m")) == 2


def test_rewind(tmp_path: Path) -> None:
    write(tmp_path / "m", 1, 5)
    log = MetricLog(tmp_path / "m")
    log.rewind(3)
    log.append({"step": 4})
    log.close()
    assert [r["step"] for r in read_metrics(tmp_path / "m")] == [1, 2, 3, 4]


@pytest.mark.parametrize("record", [{}, {"step": 1.0}, {"step": True}, {"step": "1"}])
def test_steps_must_be_whole_numbers(tmp_path: Path, record: dict) -> None:
    with pytest.raises(ArtifactError, match="integer 'step'"):
        MetricLog(tmp_path / "m").append(record)


def test_steps_must_not_fall(tmp_path: Path) -> None:
    with MetricLog(tmp_path / "m") as log:
        log.append({"step": 5})
        with pytest.raises(ArtifactError, match="4 came after 5"):
            log.append({"step": 4})


def test_a_broken_line_inside_is_named(tmp_path: Path) -> None:
    (tmp_path / "m").write_text('{"step": 1}\n{"step"\n{"step": 3}\n')
    with pytest.raises(ArtifactError, match="m:2: "):
        read_metrics(tmp_path / "m")
