"""Manifests: the sha256 of every file in a folder, written last, so that its presence says "complete"."""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from pareto.errors import ArtifactError
from pareto.state import atomic

NAME = "manifest.json"
FORMAT = 1
_SHA256 = re.compile(r"^[0-9a-f]{64}$")


def sha256(path: Path) -> str:
    """sha256 (64 hex digits) of a file's bytes."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sha256_of(folder: Path, name: str) -> str | None:
    """sha256 of a file that a relative path names, or None where no such file is.

    Raises:
        ArtifactError: it is a link or a device.
    """
    path = folder / name
    if not path.exists() and not path.is_symlink():
        return None
    _check_plain(path, folder)
    return sha256(path)


def names(folder: Path | str, unlisted: Collection[str] = ()) -> list[str]:
    """Relative path (with "/") of every file in a folder, sorted.

    Args:
        folder: the folder.
        unlisted: names right inside the folder that are left out, with all below them.

    Raises:
        ArtifactError: a symbolic link or another thing that is neither file nor folder.
    """
    folder = Path(folder)
    found = []
    for path, relative in _walk(folder, folder, unlisted):
        _check_plain(path, folder)
        found.append(relative)
    return sorted(found)


def digests(folder: Path | str, unlisted: Collection[str] = ()) -> dict[str, str]:
    """Relative path -> sha256 of every file in a folder, sorted by path; see `names`."""
    folder = Path(folder)
    return {name: sha256(folder / name) for name in names(folder, unlisted)}


def write(
    folder: Path | str, unlisted: Collection[str] = (), known: Mapping[str, str] | None = None
) -> dict[str, str]:
    """Write `manifest.json` over everything else in the folder; return path -> sha256.

    Args:
        folder: a folder that is otherwise complete.
        unlisted: names right inside the folder that the manifest does not cover; they are named in it.
        known: path -> sha256 that files must have. They are listed with these whatever lies there, so that the manifest
            tells of a change instead of covering it up.

    Raises:
        ArtifactError: a symbolic link inside.
        MachineError: the disk is full or read-only.
    """
    folder = Path(folder)
    known = known or {}
    rest = {name: sha256(folder / name) for name in names(folder, {NAME, *unlisted}) if name not in known}
    files = dict(sorted({**rest, **known}.items()))
    content = {"format": FORMAT, "unlisted": sorted(unlisted), "files": files}
    atomic.write_json(folder / NAME, {**content, "sha256": _own_sha256(content)})
    return files


def read(folder: Path | str) -> dict[str, str]:
    """Path -> sha256 as the folder's manifest states them.

    Raises:
        ArtifactError: there is no manifest, or it is broken.
    """
    return _read(Path(folder) / NAME)[0]


def verify(folder: Path | str) -> list[str]:
    """Compare a folder with its manifest; return the problems found, none when all is well.

    Every listed file must be there with its digest, nothing unlisted may lie around, and no name may leave the folder.
    """
    folder = Path(folder)
    try:
        listed, unlisted = _read(folder / NAME)
    except ArtifactError as error:
        return [str(error)]
    problems = [f"{folder / NAME} lists the unsafe path {name!r}" for name in listed if not is_safe(name)]
    problems += [] if _is_as_written(folder / NAME) else [f"{folder / NAME} is not as it was written"]
    found = {relative for _, relative in _walk(folder, folder, {NAME, *unlisted})}
    names = sorted({n for n in listed if is_safe(n)} | found)
    return problems + [problem for name in names if (problem := _problem(folder, name, listed, found))]


def check(folder: Path | str, below: str) -> None:
    """Refuse what lies below one folder of a folder with a manifest, unless all of it is as the manifest states.

    Args:
        folder: has a manifest.
        below: relative path in it, with "/".

    Raises:
        ArtifactError: a file is missing, changed, a link or not listed, or the manifest is broken; names the first one.
    """
    folder = Path(folder)
    listed, _ = _read(folder / NAME)
    if not _is_as_written(folder / NAME):
        raise ArtifactError(f"{folder / NAME} is not as it was written; see `pareto verify {folder}`")
    found = {f"{below}/{relative}" for _, relative in _walk(folder / below, folder / below, ())}
    for name in sorted({n for n in listed if n.startswith(f"{below}/")} | found):
        if problem := _problem(folder, name, listed, found):
            raise ArtifactError(f"{problem}: changed or damaged; see `pareto verify {folder}`")


def _problem(folder: Path, name: str, listed: Mapping[str, str], found: Collection[str]) -> str | None:
    """What is wrong with one file, or None."""
    path = folder / name
    if name not in listed:
        return f"{path} is not in the manifest"
    if name not in found:
        return f"{path} is missing"
    if path.is_symlink() or not path.is_file():
        return f"{path} is a link or a device, not a plain file"
    if sha256(path) != listed[name]:
        return f"{path} does not have the sha256 that the manifest states"
    return None


def is_safe(name: str) -> bool:
    """Whether a path from a manifest stays inside its folder and reads the same everywhere."""
    path = PurePosixPath(name)
    return (
        bool(name)
        and len(name) < 1000
        and not path.is_absolute()
        and str(path) == name
        and not any(part in ("..", ".") for part in path.parts)
        and not any(c in "\\:" or ord(c) < 32 or ord(c) == 127 for c in name)
    )


def _read(path: Path) -> tuple[dict[str, str], set[str]]:
    if path.is_symlink():
        raise ArtifactError(f"{path} is a link; a manifest must be a plain file")
    try:
        content: Any = json.loads(path.read_bytes())
    except FileNotFoundError:
        raise ArtifactError(f"{path} is missing: the folder is not complete") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{path} is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise ArtifactError(f"{path} is not a manifest of format {FORMAT}")
    files, unlisted = content.get("files"), content.get("unlisted", [])
    if not isinstance(files, dict) or not all(
        isinstance(v, str) and _SHA256.match(v) for v in files.values()
    ):
        raise ArtifactError(f"{path}: 'files' must map each path to a sha256 of 64 hex digits")
    if not isinstance(unlisted, list) or not all(isinstance(n, str) and "/" not in n for n in unlisted):
        raise ArtifactError(f"{path}: 'unlisted' must be a list of names without '/'")
    return files, set(unlisted)


def _own_sha256(content: Mapping[str, Any]) -> str:
    """What a manifest states of itself, so that a change of what it leaves out is noticed too."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _is_as_written(path: Path) -> bool:
    """Whether a manifest has the form and the sha256 that `write` gave it; the first ones stated none of themselves."""
    text = path.read_bytes()
    content = json.loads(text)
    own = {key: content[key] for key in ("format", "unlisted", "files") if key in content}
    whole = {**own, "sha256": _own_sha256(own)}
    return text in (atomic.json_text(whole).encode(), atomic.json_text(own).encode())


def _check_plain(path: Path, folder: Path) -> None:
    if path.is_symlink() or not path.is_file():
        raise ArtifactError(
            f"{path} is a link or a device; only plain files may lie in {folder}; put a copy there"
        )


def _walk(folder: Path, root: Path, unlisted: Collection[str]) -> Iterator[tuple[Path, str]]:
    """Everything below a folder that is not itself a folder; links are yielded, never followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            path = Path(entry.path)
            if folder == root and entry.name in unlisted:
                continue
            if entry.is_dir(follow_symlinks=False):
                yield from _walk(path, root, ())
            else:
                yield path, path.relative_to(root).as_posix()
