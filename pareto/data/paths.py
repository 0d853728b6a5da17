"""Where data files lie: absolute, or below the folder named by PARETO_DATA."""

from __future__ import annotations

import os
from pathlib import Path

from pareto.errors import DataError

VARIABLE = "PARETO_DATA"
DEFAULT = Path(__file__).resolve().parents[2].parent / "shared" / "data"
"""`../shared/data` beside the checkout."""


def data_folder() -> Path:
    """The folder that relative data paths start from."""
    return Path(os.environ[VARIABLE]).expanduser() if os.environ.get(VARIABLE) else DEFAULT


def data_file(path: str) -> Path:
    """An existing file.

    Raises:
        DataError: it is not there, with where it was looked for and how to say otherwise.
    """
    found = Path(path).expanduser()
    if not found.is_absolute():
        found = data_folder() / found
    if not found.is_file():
        raise DataError(
            f"the data file {path!r} is not there; looked for {found}; relative paths start from the folder named by the "
            f"environment variable {VARIABLE} (default ../shared/data beside the checkout)"
        )
    return found
