"""What a cell may take of a machine: its memory and its cards."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from pareto.errors import ConfigError
from pareto.study.engines._cards import cards_here, cards_of
from pareto.study.run import run_study


def test_a_cell_that_asks_for_too_much_fails_alone(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its worker lives on, the others are done, and the reason is told."""
    monkeypatch.setenv("FAKE_GREED", "0.5")
    asked = study("weights.n=3", "engine.memory_gib=4", "engine.max_attempts=1")
    run_study(asked, tmp_path / "run", workers=1)
    front = json.loads((tmp_path / "run" / "front.json").read_text())
    (failed,) = front["failed"]
    assert "MemoryError" in failed["why"]
    assert 0.5 not in [p["weights"]["gain"] for p in front["policies"]]
    assert len(front["policies"]) >= 2


@pytest.mark.parametrize(
    ("gpus", "wanted"),
    [
        (None, ["a", "b", "c", "a"]),
        (0.0, ["", "", "", ""]),
        (0.5, ["a", "a", "b", "b"]),
        (1.0, ["a", "b", "c", "a"]),
        (2.0, ["ab", "ca", "bc", "ab"]),
        (8.0, ["abc", "abc", "abc", "abc"]),
    ],
)
def test_workers_take_turns_at_cards(gpus: float | None, wanted: list[str]) -> None:
    """Three cards, four workers; by hand."""
    assert ["".join(cards_of(i, gpus, ["a", "b", "c"], "auto")) for i in range(4)] == wanted


def test_cells_on_the_processor_see_no_card() -> None:
    assert cards_of(0, None, ["0"], "cpu") == []
    assert cards_of(0, 1.0, [], "auto") == []


def test_cards_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("nvidia10", "nvidia2", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert cards_here(tmp_path) == ["2", "10"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "GPU-1, 3")
    assert cards_here(tmp_path) == ["GPU-1", "3"]


def test_parts_of_several_cards_are_refused(study: Any) -> None:
    with pytest.raises(ConfigError, match=r"whole cards or a share of one; got 1\.5"):
        study("engine.gpus=1.5")
