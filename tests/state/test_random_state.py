"""What was drawn after a capture is drawn again after a restore, through safetensors and JSON."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pareto.errors import ArtifactError
from pareto.state.checkpoint import Checkpoints
from pareto.state.random_state import capture_random_state, restore_random_state

torch = pytest.importorskip("torch")


def draw(generators: dict[str, Any]) -> list[Any]:
    drawn = [random.random(), random.gauss(0, 1), np.random.rand(3).tolist(), np.random.standard_normal()]  # noqa: NPY002
    drawn.append(torch.randn(5).tolist())
    for generator in generators.values():
        if isinstance(generator, np.random.Generator):
            drawn.append(generator.integers(0, 1 << 60, 4).tolist())
        else:
            drawn.append(torch.randperm(9, generator=generator).tolist())
    return drawn


def test_restore_repeats_every_stream(tmp_path: Path) -> None:
    own = {
        "pcg": np.random.Generator(np.random.PCG64(1)),
        "mt": np.random.Generator(np.random.MT19937(2)),
        "sfc": np.random.Generator(np.random.SFC64(3)),
        "philox": np.random.Generator(np.random.Philox(4)),
        "torch": torch.Generator().manual_seed(5),
    }
    draw(own)  # leaves half-used gaussian caches behind
    random.gauss(0, 1)
    tensors, facts = capture_random_state(own)
    Checkpoints(tmp_path).save(0, tensors, {"random": facts})
    expected = draw(own)
    draw(own)
    found = Checkpoints(tmp_path).latest()
    assert found is not None
    restore_random_state(found[1], found[2]["random"], own)
    assert draw(own) == expected


def test_facts_are_json() -> None:
    _, facts = capture_random_state({"pcg": np.random.default_rng(0)})
    assert json.loads(json.dumps(facts, allow_nan=False)) == facts


def test_unknown_generator_is_an_error() -> None:
    tensors, facts = capture_random_state()
    for stranger in (np.random.default_rng(0), torch.Generator()):
        with pytest.raises(ArtifactError, match="'mine'"):
            restore_random_state(tensors, facts, {"mine": stranger})
