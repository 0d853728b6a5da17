"""Which file system a folder lies on, and whether a sweep's store may.

The store is SQLite with a write-ahead log. That log needs memory shared through the file, and locks: all its users on one
machine, over one page cache (https://www.sqlite.org/wal.html). What a server hands out over a network promises neither, and
seems to work until it does not. Cluster file systems that keep pages and locks coherent (lustre, gpfs, cephfs, beegfs), and
those of a machine's host (9p, virtiofs), are not refused by name: whether they can lock and map is tried when the store is
opened.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from pareto.errors import UsageError

REFUSED = {
    "nfs": "NFS",
    "nfs4": "NFS",
    "cifs": "a Windows share",
    "smb3": "a Windows share",
    "smbfs": "a Windows share",
    "afs": "AFS",
    "coda": "Coda",
    "davfs": "WebDAV",
    "fuse.davfs": "WebDAV",
    "fuse.sshfs": "sshfs",
    "fuse.rclone": "rclone",
    "fuse.s3fs": "an object store",
    "fuse.goofys": "an object store",
    "fuse.mountpoint-s3": "an object store",
    "fuse.gcsfuse": "an object store",
    "fuse.blobfuse": "an object store",
    "fuse.blobfuse2": "an object store",
    "fuse.glusterfs": "GlusterFS",
    "vboxsf": "a shared folder of VirtualBox",
    "fuse.vmhgfs-fuse": "a shared folder of VMware",
    "prl_fs": "a shared folder of Parallels",
}
"""Type in the list of mounts -> what people call it."""

OVERRIDE = "PARETO_ANY_FILE_SYSTEM"
"""Set to 1 by who knows that only one machine ever opens the folder, and takes the risk."""

_MOUNTS = Path("/proc/self/mountinfo")


@dataclass(frozen=True)
class Mount:
    """A mounted file system.

    Args:
        point: the folder it is mounted on.
        kind: its type, such as "ext4" or "nfs4".
    """

    point: str
    kind: str


def mount_of(path: str, mountinfo: str) -> Mount | None:
    """The file system a path lies on.

    Args:
        path: absolute and free of links; need not exist.
        mountinfo: what Linux says in /proc/self/mountinfo (proc(5)): a line per mount, later ones over earlier ones.

    Returns:
        None where no line covers the path.
    """
    best = None
    for line in mountinfo.splitlines():
        before, separator, after = line.partition(" - ")
        fields = before.split(" ")
        if not separator or len(fields) < 6:
            continue
        point = re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), fields[4])
        inside = path == point or path.startswith(point.rstrip("/") + "/")
        if inside and (best is None or len(point) >= len(best.point)):
            best = Mount(point, after.split(" ")[0])
    return best


def check_mount(folder: Path, mountinfo: str | None = None) -> None:
    """Refuse a folder on a network file system; elsewhere than on Linux nothing is known, and nothing refused.

    Args:
        folder: need not exist.
        mountinfo: see `mount_of`; None reads this machine's.

    Raises:
        UsageError: such a file system; says what to do.
    """
    if os.environ.get(OVERRIDE) == "1":
        return
    if mountinfo is None:
        if not _MOUNTS.is_file():
            return
        mountinfo = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    mount = mount_of(str(folder.resolve()), mountinfo)
    if mount is not None and mount.kind in REFUSED:
        raise UsageError(
            f"{folder} lies on {REFUSED[mount.kind]} ({mount.kind}, mounted on {mount.point}), which cannot hold a sweep's store: "
            "its log needs the locks and the shared memory of a local disk. Choose a local folder with --out and copy the "
            f"finished run; with --engine ray the other machines need no shared folder. {OVERRIDE}=1 does without this check, "
            "at the risk of a broken store"
        )
