from __future__ import annotations

import pytest
import torch

from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import manifest
from tests.lab_fixtures import lab_reference, small_lab
from tests.models import adapters_by_hand as by_hand

__all__ = ["lab_reference", "small_lab"]

OBJECTIVES = Objectives(["helpful", "brief"])
POINTS = {"h": (1.0, 0.0), "half": (0.5, 0.5), "b": (0.0, 1.0)}


@pytest.fixture(autouse=True, scope="session")
def _one_thread():
    torch.set_num_threads(1)


def record(run, name, kind, weights, reference="prerequisites/base", seed=0):
    """A row of front.json for files that lie in the run folder."""
    return PolicyRecord(
        name,
        kind,
        {"helpful": weights[0], "brief": weights[1]},
        {"helpful": weights[0], "brief": weights[1]},
        seed=seed,
        files=manifest.digests(run / "policies" / name),
        facts={"needs": {"reference": reference}},
    )


def write_run(folder, write, kind):
    """Three policies of one kind at (1, 0), (1/2, 1/2) and (0, 1)."""
    by_hand.write_reference(folder / "prerequisites" / "base")
    for seed, name in enumerate(POINTS):
        write(folder / "policies" / name, seed)
    return PolicySet(folder, tuple(record(folder, n, kind, w) for n, w in POINTS.items()), OBJECTIVES)


@pytest.fixture(scope="session")
def adapter_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("adapters"), by_hand.write_ours, "adapter")


@pytest.fixture(scope="session")
def model_run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("models"), by_hand.write_model, "model")
