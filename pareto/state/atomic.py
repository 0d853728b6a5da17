"""Write files and folders so that a reader sees the old one or the new one, never half of one.

The bytes go to a sibling with a recognisable name, are flushed to the disk, and take the target's name in one rename;
then the folder itself is flushed. A crash leaves at most such a sibling, which `remove_leftovers` clears away.
"""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import uuid
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from pareto.errors import MachineError

DISK_FAULTS = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""What a disk is to blame for: full, over its quota, too small for the file, broken."""

_TOLD = re.compile(r"\(os error (\d+)\)")
_LEFTOVER = re.compile(r"^\.(?P<target>.+)\.[0-9a-f]{12}\.(?:partial|replaced)$")


def write_bytes(path: Path | str, data: bytes) -> None:
    """Write a file whole or not at all, and durably.

    Raises:
        MachineError: the disk is full, or the folder cannot be written; the old file stands.
    """
    path = Path(path)
    partial = _sibling(path, "partial")
    try:
        with open(partial, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
        sync_folder(path.parent)
    except OSError as error:
        with suppress(OSError):  # the first error is the one to tell
            partial.unlink()
        raise _machine_error(f"writing {path} ({len(data)} bytes)", error) from error


def write_text(path: Path | str, text: str) -> None:
    """Write UTF-8 text whole or not at all; see `write_bytes`."""
    write_bytes(path, text.encode())


def write_json(path: Path | str, value: Any) -> None:
    """Write a JSON value whole or not at all, indented for people; see `write_bytes`.

    Raises:
        ValueError: NaN or infinity inside, which JSON cannot hold.
    """
    write_text(path, json_text(value))


def json_text(value: Any) -> str:
    """The text that `write_json` writes."""
    return json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def is_disk_fault(error: BaseException) -> bool:
    """Whether an error says that the disk failed; libraries written in Rust say so in words alone."""
    if "No usable temporary directory" in str(error):  # Python's words where none can be written to
        return True
    told = _TOLD.search(str(error))
    number = error.errno if isinstance(error, OSError) and error.errno else int(told[1]) if told else None
    return number in DISK_FAULTS


@contextmanager
def staged_folder(target: Path | str) -> Iterator[Path]:
    """Yield an empty folder that becomes `target`, whole and durable, when the block ends without an error.

    What stood under that name before is replaced; when the block raises, it stays and the staged files go.

    Raises:
        MachineError: the disk is full, or the folder cannot be written.
    """
    target = Path(target)
    staging = _sibling(target, "partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        staging.mkdir()
    except OSError as error:
        raise _machine_error(f"making {target}", error) from error
    try:
        yield staging
        publish(staging, target)
    except BaseException as error:
        shutil.rmtree(staging, ignore_errors=True)
        if is_disk_fault(error):
            raise _machine_error(f"writing {target}", error) from error
        raise


def publish(source: Path, target: Path) -> None:
    """Flush a finished file or folder to the disk and give it the name `target`, replacing what stood there.

    Args:
        source: on the same file system as `target`.
        target: its new name; missing parents are made.

    Raises:
        MachineError: the disk failed; `source` is then still where it was or already under its new name.
    """
    try:
        _sync_tree(source)
    except OSError as error:
        raise _machine_error(f"publishing {target}", error) from error
    move(source, target)


def move(source: Path, target: Path) -> None:
    """Give what is on the disk already another name; as `publish`, without flushing the content again."""
    move_all([(source, target)])


def move_all(moves: Iterable[tuple[Path, Path]]) -> None:
    """Give several files and folders that are on the disk already other names, in this order.

    Their new folders are flushed at the end: most file systems then write down all the renames at once.

    Args:
        moves: (where it is, its new name); as for `publish`.

    Raises:
        MachineError: the disk failed; some may have their new names and others not.
    """
    parents, replaced = [], []
    for source, target in moves:
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            if target.is_dir():  # a rename replaces a file, but not a folder that holds something
                replaced.append(_sibling(target, "replaced"))
                os.rename(target, replaced[-1])
            os.rename(source, target)
        except OSError as error:
            raise _machine_error(f"publishing {target}", error) from error
        parents.append(target.parent)
    for parent in dict.fromkeys(parents):
        try:
            sync_folder(parent)
        except OSError as error:
            raise _machine_error(f"publishing into {parent}", error) from error
    for old in replaced:
        shutil.rmtree(old, ignore_errors=True)


def sync_folder(folder: Path) -> None:
    """Flush a folder's list of names to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def check_writable(folder: Path) -> None:
    """Write, flush, rename and delete a small file.

    Raises:
        MachineError: one of these failed.
    """
    probe = _sibling(folder / "probe", "replaced")
    write_bytes(probe, b"x" * 4096)
    probe.unlink()


def is_leftover(name: str) -> bool:
    """Whether a file or folder name is that of something a crash left half-written."""
    return _LEFTOVER.match(name) is not None


def remove_leftovers(folder: Path | str) -> list[Path]:
    """Delete what crashes left in a folder and below it; return what was deleted.

    Call it only where no other process is writing.
    """
    removed = []
    for parent, folders, files in os.walk(folder):
        for name in [*folders, *files]:
            if is_leftover(name):
                path = Path(parent, name)
                removed.append(path)
                if path.is_dir() and not path.is_symlink():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink()
        folders[:] = [name for name in folders if not is_leftover(name)]
    return removed


def _sibling(path: Path, kind: str) -> Path:
    return path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.{kind}")


def _sync_tree(path: Path) -> None:
    if not path.is_dir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        return
    for child in sorted(path.iterdir()):
        if not child.is_symlink():
            _sync_tree(child)
    sync_folder(path)


def _machine_error(what: str, error: BaseException) -> MachineError:
    return MachineError(
        f"{what} failed: {getattr(error, 'strerror', None) or error}; free some space or choose a folder that can be written, then run again"
    )
