"""The scores of one policy as a file: values per unit on both splits, and figures that are not objectives."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np

from pareto.errors import ArtifactError, ShapeError
from pareto.objectives import Objectives
from pareto.tasks.protocol import Scores

SPLITS = ("selection", "heldout")


@dataclass(frozen=True)
class ScoreFile:
    """What one npz holds.

    Args:
        heldout: [n, m] in the objectives' own directions; what is reported.
        selection: [n', m]; what choices may rest on.
        heldout_ids: [n] unit names.
        selection_ids: [n'] unit names.
        facts: split -> figures that are not objectives.
    """

    heldout: np.ndarray
    selection: np.ndarray
    heldout_ids: np.ndarray
    selection_ids: np.ndarray
    facts: Mapping[str, Mapping[str, Any]]


def check_scores(scores: Scores, split: str, objectives: Objectives, policy_id: str) -> None:
    """Refuse scores of the wrong shape or split; NaN is no fault here, it is quarantined later.

    Raises:
        ShapeError: values that are not [n, m] with n >= 1, a name too few or many, or another split.
    """
    values, ids = np.asarray(scores.values), np.asarray(scores.unit_ids)
    if (
        values.ndim != 2
        or values.shape[1] != len(objectives)
        or not len(values)
        or ids.shape != values.shape[:1]
    ):
        raise ShapeError(
            f"scores of {policy_id} on {split} must be [n, {len(objectives)}] with n >= 1 unit ids; "
            f"got {list(values.shape)} with {list(ids.shape)}"
        )
    if scores.split != split:
        raise ShapeError(f"{policy_id} was to be scored on {split!r}; the task scored {scores.split!r}")


def scores_bytes(scores: Mapping[str, Scores]) -> bytes:
    """The npz file of one policy's scores, without pickle.

    `values`, `unit_ids` and `split` are the held-out scores; `selection` and `selection_unit_ids` those that choices may
    rest on; `facts` is a JSON text, split -> figures that are not objectives.
    """
    heldout, selection = scores["heldout"], scores["selection"]
    facts = {split: plain(dict(s.facts)) for split, s in scores.items()}
    buffer = BytesIO()
    np.savez(
        buffer,
        values=np.asarray(heldout.values, dtype=np.float64),
        unit_ids=np.asarray(heldout.unit_ids).astype(np.str_),
        split=np.array("heldout"),
        selection=np.asarray(selection.values, dtype=np.float64),
        selection_unit_ids=np.asarray(selection.unit_ids).astype(np.str_),
        facts=np.array(json.dumps(facts, sort_keys=True)),
    )
    return buffer.getvalue()


def read_scores(path: Path, sha256: str | None = None) -> ScoreFile:
    """Read what `scores_bytes` made.

    Args:
        path: the file.
        sha256: what its bytes must have, where that is known.

    Raises:
        ArtifactError: the file is missing, broken or changed.
    """
    try:
        content = path.read_bytes()
        if sha256 is not None and hashlib.sha256(content).hexdigest() != sha256:
            raise ValueError(f"it does not have the sha256 {sha256[:12]}... it was written with")
        with np.load(BytesIO(content), allow_pickle=False) as arrays:
            return ScoreFile(
                heldout=arrays["values"],
                selection=arrays["selection"],
                heldout_ids=arrays["unit_ids"],
                selection_ids=arrays["selection_unit_ids"],
                facts=json.loads(str(arrays["facts"])),
            )
    except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise ArtifactError(
            f"{path} is not a readable score file ({error}); restore it, or sweep with --redo-damaged"
        ) from error


def plain(value: Any) -> Any:
    """The value as JSON holds it: arrays become lists, numpy numbers Python's, what is not finite becomes None."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return value if np.isfinite(value) else None
    return str(value) if isinstance(value, Path) else value
