"""Two processes give the losses, gradients and weights of one, replicated and sharded; alone, everything is plain."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pareto.core.parallel import BUCKET_BYTES, Processes, _buckets, join
from pareto.errors import ConfigError
from tests.core import processes


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    """The folder in which two processes left their results."""
    out = tmp_path_factory.mktemp("two")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    shared = {
        "WORLD_SIZE": "2",
        "LOCAL_WORLD_SIZE": "2",
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
    }
    root = Path(__file__).resolve().parents[2]
    running = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.core.processes", str(out)],
            cwd=root,
            env={**os.environ, **shared, "OMP_NUM_THREADS": "1", "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
        )
        for rank in (0, 1)
    ]
    try:
        faults = [process.communicate(timeout=240)[1].decode()[-2000:] for process in running]
    finally:
        for process in running:
            process.kill()
    assert [process.returncode for process in running] == [0, 0], "\n".join(faults)
    return out


def read(out, scenario):
    return load_file(out / f"{scenario}.safetensors"), json.loads((out / f"{scenario}.json").read_text())


def distance(one, other):
    """Norm of the difference of all tensors together, relative to the norm."""
    assert one.keys() == other.keys()
    parts = [((one[n].double() - other[n].double()).norm(), other[n].double().norm()) for n in one]
    return float(torch.stack([a for a, _ in parts]).norm() / torch.stack([b for _, b in parts]).norm())


@pytest.mark.parametrize("name", ["full", "tied", "adapter"])
@pytest.mark.parametrize("parallel", ["auto", "fsdp2"])
def test_losses_and_gradients_equal_those_of_one_process(two, parallel, name):
    loss, gradients = processes.gradient(name, "none")
    got, facts = read(two, f"gradient-{parallel}-{name}")
    assert facts["loss"] == pytest.approx(float(loss), rel=1e-6)
    assert distance(got, gradients) < 1e-6, distance(got, gradients)
    assert all(g.abs().sum() > 0 for n, g in gradients.items() if "embed" not in n)


@pytest.mark.parametrize("name", ["full", "tied", "adapter"])
@pytest.mark.parametrize("parallel", ["auto", "fsdp2"])
def test_training_ends_where_one_process_ends(two, parallel, name):
    """Adam divides by tiny second moments, which makes more of rounding than a gradient shows: 1e-4 after four steps."""
    weights, facts = processes.trained(name, "none")
    got, their = read(two, f"trained-{parallel}-{name}")
    assert torch.equal(got.pop("learned/visits"), weights.pop("learned/visits"))
    assert distance(got, weights) < 1e-4
    assert [row["step"] for row in their["rows"]] == [2, 4]
    for row, want in zip(their["rows"], facts["rows"], strict=True):
        assert row.keys() == want.keys()
        for figure in ("loss", "grad_norm", "target", "lr"):
            assert row[figure] == pytest.approx(want[figure], rel=1e-4)
    assert their["tokens"] == their["rows"][-1]["tokens"] > 0


def test_two_processes_resume_bit_for_bit(two):
    """With dropout, whose draws differ by process, from a folder that only the first process sees."""
    whole, facts = read(two, "whole")
    again, their = read(two, "resumed")
    assert all(torch.equal(whole[n], again[n]) for n in whole)
    assert their["rows"] == facts["rows"][1:]
    sharded, facts = read(two, "trained-fsdp2-full")
    again, their = read(two, "resumed-fsdp2")
    assert all(torch.equal(sharded[n], again[n]) for n in sharded)
    assert their["rows"] == facts["rows"][1:]
    assert [path.name for path in sorted(two.iterdir()) if path.is_dir()] == ["checkpoints-0", "sharded-0"]


@pytest.mark.parametrize(
    ("n", "count", "accumulation"), [(5, 2, 3), (8, 3, 2), (3, 3, 4), (7, 1, 4), (9, 4, 1)]
)
def test_shares_are_a_partition_with_equally_many_parts(n, count, accumulation):
    batch = np.random.default_rng(0).permutation(n)
    shares = [Processes(rank, count).share(batch, accumulation) for rank in range(count)]
    assert len({len(share) for share in shares}) == 1
    parts = [part for share in shares for part in share]
    assert all(len(part) for part in parts)
    assert sorted(np.concatenate(parts)) == list(range(n))


def test_a_batch_smaller_than_the_processes_is_refused():
    with pytest.raises(ConfigError, match="each of 4 processes; got 3; raise batch_size"):
        Processes(0, 4).share(np.arange(3), 1)


def test_processes_that_are_not_there_are_refused(monkeypatch):
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    assert join("auto", torch.device("cpu")) == join("none", torch.device("cpu")) == Processes()
    with pytest.raises(ConfigError, match=r"'fsdp2', and there is one process only; .*accelerate launch"):
        join("fsdp2", torch.device("cpu"))


def test_buckets_hold_every_tensor_once_by_kind():
    large, small = torch.zeros(BUCKET_BYTES // 4), torch.zeros(3)
    tensors = [small, torch.zeros(2, dtype=torch.float64), large, small.clone(), small.clone()]
    buckets = _buckets(tensors)
    assert sorted(id(t) for bucket in buckets for t in bucket) == sorted(id(t) for t in tensors)
    assert [[t.numel() for t in bucket] for bucket in buckets] == [[3], [BUCKET_BYTES // 4], [3, 3], [2]]


def test_one_process_sends_nothing():
    alone = Processes()
    tensor = torch.ones(2)
    alone.add([tensor])
    alone.copy_first([tensor])
    assert tensor.tolist() == [1, 1]
    assert alone.gather_bytes(b"x") == [b"x"]
