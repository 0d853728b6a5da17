"""Files of a run folder, read as what they are: data that somebody else may have changed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pareto.errors import ArtifactError
from pareto.state import manifest

MAX_BYTES = 256 << 20
"""The largest JSON file that is read."""


def check_file(folder: Path, name: str, sha256: str | None) -> None:
    """Refuse a file that leaves its folder, is reached through a link, is missing, or does not have its digest."""
    if not manifest.is_safe(name):
        raise ArtifactError(f"{folder}: a file name must stay inside the run folder; got {name!r:.120}")
    path = folder
    for part in name.split("/"):
        path = path / part
        if path.is_symlink():
            raise ArtifactError(f"{path} is a link; a run folder holds plain files only, put a copy there")
    if not path.is_file():
        raise ArtifactError(f"expected the file {path}; it is missing, restore it or run the sweep again")
    if sha256 is not None and manifest.sha256(path) != sha256:
        raise ArtifactError(
            f"{path} does not have the sha256 written for it: changed or damaged; see `pareto verify {folder}`"
        )


def listed(folder: Path) -> Mapping[str, str] | None:
    """Path -> sha256 in the run's manifest; None where there is no manifest."""
    return manifest.read(folder) if (folder / manifest.NAME).exists() else None


def sha256_in_manifest(folder: Path) -> str | None:
    """The digest of front.json that the manifest states; None where there is no manifest."""
    files = listed(folder)
    if files is None:
        return None
    if "front.json" not in files:
        raise ArtifactError(
            f"{folder / manifest.NAME} states no sha256 for front.json; run the sweep again to write it"
        )
    return files["front.json"]


def read_json(folder: Path, name: str, sha256: str | None = None) -> Any:
    """Parse a JSON file of a run folder, strictly: no link, no NaN, at most 256 MiB, the stated digest.

    Raises:
        ArtifactError: it is missing, a link, changed, too large or not JSON.
    """

    def refuse(word: str) -> float:
        raise ValueError(f"{word} is not JSON")

    path = folder / name
    if not path.exists() and not path.is_symlink():
        raise ArtifactError(
            f"expected {name} in {folder}; the run is not finished (run the same sweep again) or not a run folder"
        )
    check_file(folder, name, sha256)
    if path.stat().st_size > MAX_BYTES:
        raise ArtifactError(f"{path} may be at most {MAX_BYTES} bytes; it has {path.stat().st_size}")
    try:
        return json.loads(path.read_bytes(), parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(
            f"{path} is not readable as JSON: {error}; restore it or run the sweep again"
        ) from error
