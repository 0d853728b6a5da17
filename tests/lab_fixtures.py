from __future__ import annotations

from pathlib import Path

import pytest

from pareto.cells import FitContext
from pareto.core.loop import TrainConfig
from pareto.tasks.lab import Lab
from pareto.tasks.lab.reference import ReferenceConfig

SMALL = {
    "prompts": 20,
    "heldout": 4,
    "slots": 3,
    "choices": 3,
    "pairs": 4000,
    "reference": ReferenceConfig(
        hidden=32, layers=1, heads=2, corpus=4000, train=TrainConfig(steps=250, batch_size=64, lr=1e-2)
    ),
}


@pytest.fixture(scope="session")
def small_lab() -> Lab:
    """A lab of 20 prompts and 27 replies that trains in seconds."""
    return Lab(**SMALL)


@pytest.fixture(scope="session")
def lab_reference(small_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the small lab's reference cell."""
    root = tmp_path_factory.mktemp("lab")
    context = FitContext(folder=root / "reference", scratch=root / "scratch")
    context.folder.mkdir()
    context.scratch.mkdir()
    small_lab.build("reference", small_lab.prerequisites()["reference"], context)
    return context.folder
