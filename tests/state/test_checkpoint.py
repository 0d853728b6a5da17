"""The newest whole checkpoint is found after anything; what it holds comes back bit for bit."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from pareto.errors import ArtifactError, MachineError
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints

torch = pytest.importorskip("torch")


def tensors(step: int) -> dict:
    generator = torch.Generator().manual_seed(step)
    weight = torch.randn(3, 4, generator=generator)
    return {
        "weight": weight,
        "tied": weight,  # shares its storage
        "column": weight[:, 1],  # not contiguous
        "half": weight.to(torch.bfloat16),
        "step": torch.tensor(float(step)),
        "state": torch.arange(5, dtype=torch.uint8),
    }


def test_round_trip_is_exact(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "c")
    facts = {"loss": 0.1 + 0.2, "tiny": 5e-324, "nested": {"list": [1, None, "é"]}}
    checkpoints.save(7, tensors(7), facts)
    found = checkpoints.latest()
    assert found is not None
    step, loaded, loaded_facts = found
    assert (step, loaded_facts) == (7, facts)
    for name, value in tensors(7).items():
        assert loaded[name].dtype == value.dtype
        assert torch.equal(loaded[name], value)


def test_nothing_saved(tmp_path: Path) -> None:
    assert Checkpoints(tmp_path / "none").latest() is None


def test_keeps_the_newest(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (1, 2, 10, 3):  # by step, not by time
        checkpoints.save(step, tensors(step), {})
    assert checkpoints.steps() == [3, 10]
    with pytest.raises(ArtifactError, match="at least one"):
        Checkpoints(tmp_path, keep=0)


@pytest.mark.parametrize("harm", ["flip", "truncate", "no manifest", "no facts", "extra", "swap"])
def test_a_harmed_checkpoint_is_passed_over(tmp_path: Path, harm: str) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, tensors(1), {"n": 1})
    checkpoints.save(2, tensors(2), {"n": 2})
    newest = tmp_path / "step-000000000002"
    data = newest / "tensors.safetensors"
    content = bytearray(data.read_bytes())
    if harm == "flip":  # safetensors alone does not see this one
        content[-1] ^= 1
        data.write_bytes(content)
    elif harm == "truncate":
        data.write_bytes(content[:-8])
    elif harm == "no manifest":
        (newest / "manifest.json").unlink()
    elif harm == "no facts":
        (newest / "facts.json").unlink()
    elif harm == "extra":
        (newest / "more").write_text("x")
    else:
        data.write_bytes((tmp_path / "step-000000000001" / "tensors.safetensors").read_bytes())
    found = checkpoints.latest()
    assert found is not None
    assert (found[0], found[2]) == (1, {"n": 1})


def test_full_disk_keeps_the_last_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path, keep=1)
    checkpoints.save(1, tensors(1), {})
    real = atomic.write_bytes

    def full(path: Path, data: bytes) -> None:
        if path.name == "manifest.json":
            raise MachineError("disk full")
        real(path, data)

    monkeypatch.setattr(atomic, "write_bytes", full)
    with pytest.raises(MachineError):
        checkpoints.save(2, tensors(2), {})
    assert os.listdir(tmp_path) == ["step-000000000001"]
    found = checkpoints.latest()
    assert found is not None
    assert found[0] == 1


def test_same_state_same_bytes(tmp_path: Path) -> None:
    for name in ("a", "b"):
        Checkpoints(tmp_path / name).save(
            3, dict(reversed(tensors(3).items())) if name == "b" else tensors(3), {}
        )
    files = [sorted((tmp_path / name).rglob("*.safetensors"))[0].read_bytes() for name in ("a", "b")]
    assert files[0] == files[1]


def test_retention_never_deletes_the_last_whole_one(tmp_path: Path) -> None:
    """Steps 20 and 30 were damaged, so the run goes on from 10 and saves 15 in front of them."""
    checkpoints = Checkpoints(tmp_path, keep=2)
    for step in (10, 20, 30):
        checkpoints.keep = 3
        checkpoints.save(step, {"x": torch.full((4,), float(step))}, {})
    for step in (20, 30):
        path = tmp_path / f"step-{step:012d}" / "tensors.safetensors"
        path.write_bytes(path.read_bytes()[:-1])
    checkpoints.keep = 2
    found = checkpoints.latest()
    assert found is not None
    assert found[0] == 10
    checkpoints.save(15, {"x": torch.full((4,), 15.0)}, {})
    found = checkpoints.latest()
    assert found is not None
    assert found[0] == 15
    assert checkpoints.steps() == [10, 15]


@pytest.mark.parametrize("keep", [1, 2, 3])
def test_whatever_is_damaged_the_newest_whole_one_survives_the_next_save(tmp_path: Path, keep: int) -> None:
    draw = np.random.default_rng(keep)
    checkpoints = Checkpoints(tmp_path, keep)
    step = 0
    for _ in range(25):
        found = checkpoints.latest()
        step = found[0] if found else 0
        step += int(draw.integers(1, 5))
        checkpoints.save(step, {"x": torch.full((2,), float(step))}, {"step": step})
        latest = checkpoints.latest()
        assert latest is not None
        assert (latest[0], latest[2]["step"]) == (step, step)
        for other in checkpoints.steps():
            if draw.random() < 0.4:
                path = tmp_path / f"step-{other:012d}" / "facts.json"
                path.write_bytes(path.read_bytes() + b" ")
