"""A preference method on a language model and rows held in memory."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pareto.errors import DataError
from pareto.methods import FITTERS
from pareto.models.causal import no_progress_bars
from pareto.policy_set import PolicySet, load
from pareto.state import atomic
from pareto.study.config import StudyConfig, WeightsConfig
from pareto.study.run import run_study
from pareto.tasks import TASKS


@FITTERS.register("text", source="this suite")
def fit_text(
    method: Any,
    model: Any,
    tokenizer: Any,
    rows: Iterable[Mapping[str, Any]] | Mapping[str, Iterable[Mapping[str, Any]]],
    *,
    objectives: Iterable[Any] | None = None,
    weights: Iterable[Mapping[str, float]] | None = None,
    n_weights: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    task: Mapping[str, Any] | None = None,
    callbacks: Iterable[Callable[[Mapping[str, float]], object]] = (),
) -> PolicySet:
    """Fit a front of policies in this process and score it on prompts kept from training.

    Args:
        method: the method, which is its own configuration.
        model: a Hugging Face causal model, or the folder or hub id of one; it is the reference and is not changed.
        tokenizer: its tokenizer; ignored where `model` is a folder or hub id.
        rows: preference rows of any shape that files may have, or objective -> ordinary chosen/rejected rows.
        objectives: names or specifications; None: those the rows' labels name.
        weights: objective -> number, one mapping per policy; None: corners and cell centres.
        n_weights: how many weights where `weights` is None.
        seed: study seed.
        out: run folder; None makes one that the caller may keep (its path is the result's `folder`).
        task: further settings of the text task (split, limits, prompt_format, generation, ...).
        callbacks: called with the logged figures a few times a second.

    Returns:
        the policy set, as a sweep would give it.

    Raises:
        DataError: no rows, or rows without a label.
    """
    root = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="pareto-"))
    given = root.with_name(f"{root.name}-input")
    given.mkdir(parents=True, exist_ok=True)
    listed = list(_labelled(rows))
    if not listed:
        raise DataError("expected preference rows; got none")
    atomic.write_text(given / "rows.jsonl", "".join(json.dumps(row) + "\n" for row in listed))
    limits = {}
    if not isinstance(model, str | Path):
        half = min(
            512, (getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1024) // 2
        )
        limits = {"limits": {"prompt_tokens": half, "response_tokens": half}}
        with atomic.staged_folder(given / "model") as staging, no_progress_bars():
            model.save_pretrained(staging)
            tokenizer.save_pretrained(staging)
        model = given / "model"
    settings = {
        "kind": "text",
        "data": [str((given / "rows.jsonl").absolute())],
        "model": str(Path(model).absolute() if Path(model).is_dir() else model),
        "objectives": list(objectives) if objectives is not None else _named(listed),
        "generation": {"prompts": 8},
        **limits,
        **(task or {}),
    }
    chosen = list(weights) if weights is not None else None
    study = StudyConfig(
        study=method.name,
        task=TASKS.get("text").model_validate_json(json.dumps(settings)),  # type: ignore[attr-defined]  # a Config
        method=method,
        weights=WeightsConfig(kind="list", list=tuple(chosen), corners=False)
        if chosen
        else WeightsConfig(kind=_kind(method), n=n_weights),
        seeds=(seed,),
    )

    def tell(notice: Any) -> None:
        if notice.kind == "progress":
            for callback in callbacks:
                callback(notice.data["figures"])

    run_study(study, root, workers=0, notify=tell)
    return load(root)


def _kind(method: Any) -> str:
    """The weights that a method takes where nobody says which."""
    return "directions" if getattr(method, "weights_kind", "simplex") == "direction" else "cells"


def _labelled(rows: Any) -> Iterable[dict[str, Any]]:
    if isinstance(rows, Mapping):
        return ({**row, "objective": name} for name, own in rows.items() for row in own)
    return (dict(row) for row in rows)


def _named(rows: list[dict[str, Any]]) -> list[str]:
    """Objectives in the order in which the rows' labels first name them."""
    names: dict[str, None] = {}
    for row in rows:
        if row.get("objective"):
            names.setdefault(str(row["objective"]))
        names.update(dict.fromkeys(row.get("preferences") or {}))
        for scores in row.get("scores") or []:
            names.update(dict.fromkeys(scores))
    if not names:
        raise DataError("the rows name no objective; give each an 'objective', 'preferences' or 'scores'")
    return list(names)
