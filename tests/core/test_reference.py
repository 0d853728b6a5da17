"""Reference log-probabilities: a key for what they depend on, and one computation."""

from __future__ import annotations

import numpy as np
import pytest

from pareto.core.reference import cached_logps, logps_key, model_sha256
from pareto.data.pairs import Ragged, ResponseTable


def table(prompts=((1, 2), (3,)), responses=((4,), (5, 6)), owners=(0, 1)):
    return ResponseTable(Ragged.of(prompts), Ragged.of(responses), np.array(owners))


def test_the_key_stands_for_model_ids_and_arithmetic():
    base = logps_key("m", table(), "float32")
    assert base == logps_key("m", table(), "float32")
    others = [
        logps_key("n", table(), "float32"),
        logps_key("m", table(), "bfloat16"),
        logps_key("m", table(responses=((4,), (5, 7))), "float32"),
        logps_key("m", table(responses=((4, 5), (6,))), "float32"),  # the same tokens, cut elsewhere
        logps_key("m", table(prompts=((1,), (2, 3))), "float32"),
        logps_key("m", table(owners=(0, 0)), "float32"),
    ]
    assert len({base, *others}) == 7


def test_the_key_does_not_care_how_the_ids_are_stored():
    wide = ResponseTable(
        Ragged.of([(1, 2), (3,)], np.int64),
        Ragged.of([(4,), (5, 6)], np.int64),
        np.array([0, 1], dtype=np.int32),
    )
    assert logps_key("m", wide, "float32") == logps_key("m", table(), "float32")


def test_a_hit_computes_nothing(tmp_path):
    calls = []

    def compute():
        calls.append(1)
        return np.array([-1.5, -0.25, -3.0])

    first = cached_logps(tmp_path, "a" * 64, compute)
    again = cached_logps(tmp_path, "a" * 64, compute)
    assert len(calls) == 1
    assert first.dtype == again.dtype == np.float32
    assert first.tolist() == again.tolist() == [-1.5, -0.25, -3.0]
    cached_logps(tmp_path, "b" * 64, compute)
    assert len(calls) == 2
    assert len(list(tmp_path.iterdir())) == 2


def test_a_failed_computation_leaves_nothing(tmp_path):
    def fail():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        cached_logps(tmp_path, "a" * 64, fail)
    assert list(tmp_path.iterdir()) == []


def test_a_model_is_its_weights_and_its_config(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "model.safetensors").write_bytes(b"weights")
    digest = model_sha256(tmp_path)
    (tmp_path / "README.md").write_text("words")
    assert model_sha256(tmp_path) == digest
    (tmp_path / "model.safetensors").write_bytes(b"Weights")
    changed = model_sha256(tmp_path)
    (tmp_path / "config.json").write_text('{"rope": 1}')
    assert len({digest, changed, model_sha256(tmp_path)}) == 3
