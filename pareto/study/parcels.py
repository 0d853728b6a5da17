"""A folder as plain bytes and back: how files travel between machines that share no file system.

A parcel maps the relative path of each file to its content. Links and names that would leave the folder are refused on
both ends, and what is unpacked appears whole.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path

from pareto.errors import ArtifactError
from pareto.state import atomic, manifest

Parcel = Mapping[str, bytes]
"""Relative path (with "/") -> content."""


def pack(folder: Path, unlisted: Collection[str] = ()) -> dict[str, bytes]:
    """Every file of a folder; an absent folder is an empty parcel.

    Args:
        folder: nobody writes to it meanwhile.
        unlisted: names right inside the folder that stay behind, with all below them.

    Raises:
        ArtifactError: a symbolic link or a device inside.
    """
    if not folder.is_dir():
        return {}
    whole = (
        name
        for name in manifest.names(folder, unlisted)
        if not any(atomic.is_leftover(part) for part in name.split("/"))
    )
    return {name: (folder / name).read_bytes() for name in whole}


def unpack(parcel: Parcel, folder: Path) -> None:
    """Make `folder` hold exactly the parcel's files, whole and durably; what stood there before goes.

    Raises:
        ArtifactError: a name that would leave the folder.
        MachineError: the disk is full; what stood there before stands.
    """
    unsafe = [name for name in parcel if not manifest.is_safe(name)]
    if unsafe:
        raise ArtifactError(f"a parcel for {folder} holds the unsafe path {unsafe[0]!r:.120}")
    with atomic.staged_folder(folder) as staging:
        for name, content in parcel.items():
            path = staging / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def stamps(folder: Path) -> frozenset[tuple[str, int, int]]:
    """(path, size, time of change) of every file below a folder: whether there is something new, without reading it."""
    found = set()
    for path in folder.rglob("*"):
        if path.is_file() and not any(atomic.is_leftover(part) for part in path.relative_to(folder).parts):
            status = path.stat()
            found.add((path.relative_to(folder).as_posix(), status.st_size, status.st_mtime_ns))
    return frozenset(found)
