"""Network file systems are told by the list of mounts, which here is text."""

from __future__ import annotations

import errno
import fcntl
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from pareto.errors import MachineError, UsageError
from pareto.study import mounts
from pareto.study.mounts import Mount, check_mount, mount_of
from pareto.study.run import run_study
from pareto.study.store import Store

# As proc(5) has it: id, parent, device, root, mount point, options, optional fields, "-", type, source, options. The second
# line of /home is what automounters leave: the trap below, the file system on top.
MOUNTS = r"""22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
35 22 0:31 / /home rw,relatime shared:7 - autofs systemd-1 rw,fd=49
36 35 0:52 / /home rw,relatime shared:8 - nfs4 server:/export/home rw,vers=4.2
37 36 0:53 / /home/ann/local rw,relatime - xfs /dev/sdb1 rw
38 22 0:54 / /mnt/team\040share rw,relatime master:1 propagate_from:2 - cifs //server/team rw
39 22 0:55 / /scratch rw,relatime - lustre mds@tcp:/scratch rw,flock
40 22 0:56 / /data rw - fuse.sshfs ann@server:/data rw
half a line
"""


@pytest.mark.parametrize(
    ("path", "point", "kind"),
    [
        ("/", "/", "ext4"),
        ("/srv/run", "/", "ext4"),
        ("/home", "/home", "nfs4"),
        ("/home/ann/run", "/home", "nfs4"),
        ("/homework/run", "/", "ext4"),
        ("/home/ann/local/run", "/home/ann/local", "xfs"),
        ("/home/ann/localised", "/home", "nfs4"),
        ("/mnt/team share/run", "/mnt/team share", "cifs"),
        ("/scratch/run", "/scratch", "lustre"),
    ],
)
def test_the_innermost_and_latest_mount_counts(path: str, point: str, kind: str) -> None:
    assert mount_of(path, MOUNTS) == Mount(point, kind)


def test_no_mount_no_answer() -> None:
    assert mount_of("/srv", "") is None


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("/home/ann/run", r"/home/ann/run lies on NFS \(nfs4, mounted on /home\)"),
        ("/mnt/team share/run", r"a Windows share \(cifs, mounted on /mnt/team share\)"),
        ("/data/run", r"sshfs \(fuse.sshfs, mounted on /data\)"),
    ],
)
def test_a_network_file_system_is_refused_with_the_way_out(path: str, says: str) -> None:
    with pytest.raises(UsageError, match=rf"{says}.*local folder with --out.*PARETO_ANY_FILE_SYSTEM=1"):
        check_mount(Path(path), MOUNTS)


@pytest.mark.parametrize("path", ["/srv/run", "/home/ann/local/run", "/scratch/run"])
def test_local_and_coherent_ones_are_not(path: str) -> None:
    check_mount(Path(path), MOUNTS)


def test_who_knows_better_may(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(mounts.OVERRIDE, "1")
    check_mount(Path("/home/ann/run"), MOUNTS)


def test_a_sweep_asks_before_anything_is_made(
    study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = tmp_path / "mountinfo"
    listed.write_text(
        f"22 1 8:1 / / rw - ext4 /dev/sda1 rw\n36 22 0:52 / {tmp_path}/net rw - nfs server:/ rw\n"
    )
    monkeypatch.setattr(mounts, "_MOUNTS", listed)
    (tmp_path / "link").symlink_to(tmp_path / "net")
    for name in ("net", "link"):  # a link hides nothing
        with pytest.raises(UsageError, match="NFS"):
            run_study(study(), tmp_path / name / "run", workers=0)
    assert not (tmp_path / "net").exists()
    run_study(study("weights.n=2"), tmp_path / "run", workers=0)


def test_the_second_line_is_to_try(study: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where names tell nothing: a file system without locks, and one on which SQLite cannot have its log."""

    def no_locks(file: Any, operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(fcntl, "flock", no_locks)
        with pytest.raises(UsageError, match=r"without locks \(No locks available\); choose a local folder"):
            run_study(study(), tmp_path / "run", workers=0)
    real = sqlite3.connect
    # a database in memory answers as one does whose file cannot be mapped: it stays in another mode
    monkeypatch.setattr(sqlite3, "connect", lambda path, **options: real(":memory:", **options))
    with pytest.raises(MachineError, match="cannot hold a write-ahead log; choose a local folder with --out"):
        Store(tmp_path / "sweep.db", create=True)
