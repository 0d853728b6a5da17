"""Files of tensors: safetensors only, with a header that is sound before anything believes it; pickles are named and refused."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path, PurePath

from pareto.errors import ArtifactError

SUFFIX = ".safetensors"
PICKLED = frozenset({".bin", ".ckpt", ".dill", ".h5", ".joblib", ".pickle", ".pkl", ".pt", ".pt2", ".pth"})
"""Endings of files whose readers run what they read."""


def is_pickled(name: str) -> bool:
    """Whether a file's name says that reading it would run code."""
    return PurePath(name).suffix.lower() in PICKLED


def check_tensors(path: Path) -> None:
    """Open a safetensors file as far as its header: its size, its JSON, and where each tensor begins and ends.

    Source: the format's own reader, which bounds the header by 100 MB and wants tensors side by side up to the file's end.

    Raises:
        ArtifactError: it cannot be read.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, "np"):
            return
    except (SafetensorError, OSError, ValueError) as error:
        raise ArtifactError(
            f"{path} is no sound safetensors file: {error}; write it again with save_pretrained(safe_serialization=True), or "
            "take it from where it is whole"
        ) from error


def check_all_tensors(paths: Iterable[Path]) -> None:
    """Check every file of tensors among these.

    Raises:
        ArtifactError: one cannot be read.
    """
    for path in paths:
        if path.suffix.lower() == SUFFIX:
            check_tensors(path)
