"""What finished cells left in the run folder, by the digests that the store took down when it committed them.

These digests are the authority: a manifest is made from them and not from the disk, so that a file that was damaged later
cannot pass for what the cell wrote.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pareto.cells import digest
from pareto.errors import ArtifactError
from pareto.state import manifest
from pareto.study.layout import RunFolder
from pareto.study.rows import Row
from pareto.study.store import Store


@dataclass(frozen=True)
class Damage:
    """A file that is not what its cell wrote.

    Args:
        cell_id: the cell.
        name: path relative to the run folder.
        expected: sha256 when the cell was committed; None for a file that the cell did not write.
        found: sha256 now; None for a file that is not there.
    """

    cell_id: str
    name: str
    expected: str | None
    found: str | None

    def __str__(self) -> str:
        if self.expected is None:
            return f"{self.name} is no file of cell {self.cell_id}, in whose folder it lies"
        found = "it is missing" if self.found is None else f"found {self.found[:12]}..."
        return f"{self.name} is not what cell {self.cell_id} wrote: expected sha256 {self.expected[:12]}..., {found}"


def recorded(row: Row) -> dict[str, str]:
    """Path relative to the run folder -> sha256 of all that a finished cell wrote; nothing of a cell that is not finished."""
    if row.result is None:
        return {}
    found = dict(row.result.get("files", {}))
    for policy in row.result["policies"]:
        name = policy["id"]
        found |= {f"policies/{name}/{path}": sha256 for path, sha256 in policy["files"].items()}
        found |= {
            f"scores/{name}.npz": policy["scores_sha256"],
            f"samples/{name}.jsonl": policy["samples_sha256"],
        }
    return found


def all_recorded(store: Store) -> dict[str, str]:
    """`recorded` of every finished cell, of earlier plans too."""
    rows = [*store.rows(), *store.rows(planned=False)]
    return {name: sha256 for row in rows for name, sha256 in recorded(row).items()}


def damages(run: RunFolder, rows: Iterable[Row]) -> list[Damage]:
    """Compare what finished cells wrote with what lies in the folder; every file is read once.

    Args:
        run: the run folder.
        rows: cells to look at.

    Raises:
        ArtifactError: a link or a device in the folder of a cell.
    """
    owners, folders, expected = dict[str, str](), dict[str, str](), dict[str, str]()
    for row in rows:
        own = recorded(row)
        expected |= own
        owners |= dict.fromkeys(own, row.cell.id)
        folders |= {"/".join(name.split("/")[:2]): row.cell.id for name in own if name.count("/") > 1}
    found = []
    for name, sha256 in expected.items():
        now = manifest.sha256_of(run.root, name)
        if now != sha256:
            found.append(Damage(owners[name], name, sha256, now))
    for folder, cell_id in folders.items():
        inside = manifest.names(run.root / folder) if (run.root / folder).is_dir() else []
        found += [
            Damage(cell_id, f"{folder}/{name}", None, None)
            for name in inside
            if f"{folder}/{name}" not in expected
        ]
    return found


def check_committed(run: RunFolder, rows: Iterable[Row]) -> None:
    """Refuse to go on from files that are not what their cells wrote.

    Raises:
        ArtifactError: names the first of them and the way out.
    """
    found = damages(run, rows)
    if found:
        more = f", and {len(found) - 1} more files" if found[1:] else ""
        cells = sorted({one.cell_id for one in found})
        raise ArtifactError(
            f"{run.root}: {found[0]}{more}; something else changed them. Restore them from a copy, or run the same sweep "
            f"with --redo-damaged: it does these cells again and leaves the others alone: {', '.join(cells)}"
        )


def redo_damaged(run: RunFolder, store: Store) -> None:
    """Clear away the cells whose files are not what they wrote, and have them done again where they are wanted."""
    rows = [*store.rows(), *store.rows(planned=False)]
    for cell_id in sorted({one.cell_id for one in damages(run, rows)}):
        for place in {"/".join(name.split("/")[:2]) for name in recorded(store.row(cell_id))}:
            path = run.root / place
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        redo(store, [cell_id])


def redo(store: Store, cell_ids: Iterable[str]) -> None:
    """Have finished cells done again, and note what they had made."""
    for cell_id in cell_ids:
        store.set(_key(cell_id), _made(store.row(cell_id)))
        store.redo(cell_id)


def redo_dependents(store: Store, cell_id: str) -> None:
    """After a cell was done again: where other files came out, what was made from the old ones is done again as well.

    On a CPU the same files come out.
    """
    before = store.get(_key(cell_id))
    if before is not None and before != _made(store.row(cell_id)):
        redo(store, store.dependents(cell_id))


def _key(cell_id: str) -> str:
    return f"redone {cell_id}"


def _made(row: Row) -> str:
    """Digest of what others may build on: a cell's policies and its own folder."""
    files: Mapping[str, str] = recorded(row)
    return digest({k: v for k, v in files.items() if k.startswith(("policies/", "prerequisites/"))})
