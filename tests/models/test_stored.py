"""Text policies of a run folder: each kind of stored policy loads by name, on the reference its record names."""

from __future__ import annotations

import shutil

import numpy as np
import pytest

from pareto.errors import ArtifactError
from pareto.models.adapters import FullFineTuning, LoRA, attach, save_policy
from pareto.models.reference_folder import reference_folder
from pareto.models.stored import load_text_policy
from pareto.objectives import Objectives
from pareto.policy_record import PolicyRecord
from pareto.policy_set import LOADERS, PolicySet, TextPolicy
from pareto.state import manifest
from tests.models import tiny

OBJECTIVES = Objectives(["helpful", "brief"])
VALUES = {"helpful": 1.0, "brief": 0.0}


def record(name, kind, reference="prerequisites/base"):
    return PolicyRecord(name, kind, VALUES, facts={"needs": {"reference": reference}})


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run folder with a reference and two policies on it: an adapter, and a whole model of another seed."""
    folder = tmp_path_factory.mktemp("run")
    tiny.llama(0, layers=1).save_pretrained(folder / "prerequisites" / "base")
    tiny.tokenizer().save_pretrained(folder / "prerequisites" / "base")
    save_policy(attach(tiny.llama(0, layers=1), LoRA(r=2), seed=0), folder / "policies" / "a")
    save_policy(attach(tiny.llama(1, layers=1), FullFineTuning(), seed=0), folder / "policies" / "m")
    return PolicySet(folder, (record("a", "adapter"), record("m", "model")), OBJECTIVES)


def test_both_kinds_load_by_name(run):
    prompts, replies = ["the cat", "rain"], [" sat on", " fell"]
    found = {}
    for row in run.records:
        policy = LOADERS.get(row.kind)(run, row)
        assert isinstance(policy, TextPolicy)
        assert policy.objectives == OBJECTIVES
        found[row.id] = policy.logps(prompts, replies)
    from pareto.models.text_policy import TransformersPolicy

    for name, seed in (("a", 0), ("m", 1)):  # a fresh adapter equals its base
        fresh = TransformersPolicy(tiny.llama(seed, layers=1), tiny.tokenizer(), OBJECTIVES)
        np.testing.assert_allclose(found[name], fresh.logps(prompts, replies), atol=1e-5)
    assert abs(found["a"] - found["m"]).max() > 1e-3


@pytest.mark.parametrize(
    "reference", [None, "", "/prerequisites/base", "../base", "prerequisites/../../base"]
)
def test_a_reference_outside_the_run_folder_is_refused(run, reference):
    with pytest.raises(ArtifactError, match="does not name its reference"):
        reference_folder(run, record("a", "adapter", reference))


def test_a_record_without_needs_is_refused(run):
    with pytest.raises(ArtifactError, match=r"'a'.*does not name its reference"):
        reference_folder(run, PolicyRecord("a", "adapter", VALUES))


def test_a_reference_that_is_gone_is_named(run):
    with pytest.raises(ArtifactError, match=r"prerequisites/gone.*not there"):
        load_text_policy(run, record("a", "adapter", "prerequisites/gone"))


def test_a_policy_that_is_gone_is_named(run):
    with pytest.raises(ArtifactError, match="incomplete"):
        load_text_policy(run, record("z", "adapter"))


def test_a_reference_is_checked_against_the_manifest_once_per_loaded_run(run, tmp_path):
    """Nothing in safetensors notices one flipped bit of a weight."""
    folder = tmp_path / "run"
    shutil.copytree(run.folder, folder)
    manifest.write(folder)
    weights = folder / "prerequisites" / "base" / "model.safetensors"
    whole = weights.read_bytes()
    flipped = bytearray(whole)
    flipped[-1] ^= 1
    weights.write_bytes(flipped)
    damaged = PolicySet(folder, run.records, OBJECTIVES)
    for _ in range(2):  # refused again, not remembered as checked
        with pytest.raises(
            ArtifactError, match=r"model\.safetensors does not have the sha256.*pareto verify"
        ):
            load_text_policy(damaged, damaged[0])
    weights.write_bytes(whole)
    load_text_policy(damaged, damaged[0])
