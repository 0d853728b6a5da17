"""A reader sees the old file or the new one; a crash leaves only what is recognised and cleared."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pareto.errors import MachineError
from pareto.state import atomic


def test_writes_and_replaces(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    atomic.write_json(path, {"x": 0.1, "é": [1, None]})
    assert json.loads(path.read_text(encoding="utf-8")) == {"x": 0.1, "é": [1, None]}
    atomic.write_text(path, "two")
    assert path.read_text() == "two"
    assert os.listdir(tmp_path) == ["a.json"]


def test_json_holds_no_nan(tmp_path: Path) -> None:
    with pytest.raises(ValueError):
        atomic.write_json(tmp_path / "a.json", {"x": float("nan")})
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "a"
    atomic.write_text(path, "old")

    def full(*args: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, call, full)
    with pytest.raises(MachineError, match=r"writing .*a \(3 bytes\) failed: No space left"):
        atomic.write_text(path, "new")
    assert path.read_text() == "old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_real_file_size_limit_keeps_the_old_file(tmp_path: Path) -> None:
    """RLIMIT_FSIZE cuts a write in the middle, as a full disk does."""
    script = (
        "import resource, signal, sys; from pathlib import Path; from pareto.state import atomic\n"
        "from pareto.errors import MachineError\n"
        "path = Path(sys.argv[1]); atomic.write_bytes(path, b'old')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: atomic.write_bytes(path, b'x' * 100_000)\n"
        "except MachineError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "a")], capture_output=True, text=True, check=True
    )
    assert "100000 bytes" in done.stdout
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_staged_folder_appears_whole_and_replaces(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    for content in ("one", "two"):
        with atomic.staged_folder(target) as staging:
            assert not (staging / "sub").exists()
            (staging / "sub").mkdir()
            (staging / "sub" / "file").write_text(content)
            assert not target.exists() or (target / "sub" / "file").read_text() == "one"
        assert (target / "sub" / "file").read_text() == content
    assert os.listdir(target.parent) == ["folder"]


def test_staged_folder_goes_when_the_block_raises(tmp_path: Path) -> None:
    with atomic.staged_folder(tmp_path / "f") as staging:
        (staging / "kept").write_text("1")
    with pytest.raises(KeyboardInterrupt), atomic.staged_folder(tmp_path / "f") as staging:  # noqa: PT012
        (staging / "half").write_text("2")
        raise KeyboardInterrupt
    assert os.listdir(tmp_path) == ["f"]
    assert os.listdir(tmp_path / "f") == ["kept"]


def test_every_file_and_folder_is_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda fd: (flushed.append(os.readlink(f"/proc/self/fd/{fd}")), real(fd))[1]
    )
    if not Path("/proc/self/fd").exists():
        pytest.skip("this system cannot name the file behind a descriptor")
    with atomic.staged_folder(tmp_path / "f") as staging:
        (staging / "sub").mkdir()
        (staging / "sub" / "a").write_text("1")
        (staging / "b").write_text("2")
        name = str(staging)
    assert flushed == [f"{name}/b", f"{name}/sub/a", f"{name}/sub", name, str(tmp_path)]


def test_a_kill_leaves_recognisable_leftovers(tmp_path: Path) -> None:
    script = (
        "import os, sys; from pathlib import Path; from pareto.state import atomic\n"
        "folder = Path(sys.argv[1])\n"
        "with atomic.staged_folder(folder / 'sub' / 'f') as staging:\n"
        "    (staging / 'half').write_text('x')\n"
        "    os.replace = lambda *a: os._exit(9)\n"
        "    atomic.write_text(folder / 'a', 'text')\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False)
    (tmp_path / "mine").write_text("1")
    left = [p.name for p in tmp_path.rglob("*") if atomic.is_leftover(p.name)]
    assert len(left) == 2
    assert len(atomic.remove_leftovers(tmp_path)) == 2
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["mine", "sub"]


@pytest.mark.parametrize("name", ["a", ".hidden", "x.partial", ".a.123.partial", "a.0123456789ab.partial"])
def test_other_names_are_no_leftovers(name: str) -> None:
    assert not atomic.is_leftover(name)


def test_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(MachineError):
        atomic.write_text(tmp_path / "file" / "a", "x")
    with pytest.raises(MachineError), atomic.staged_folder(tmp_path / "file" / "a"):
        pass


@pytest.mark.parametrize(
    "words",
    [
        "Error while serializing: I/O error: No space left on device (os error 28)",  # safetensors
        "File too large (os error 27)",  # tokenizers
    ],
)
def test_libraries_that_only_say_that_the_disk_is_full_are_understood(tmp_path: Path, words: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "old").write_text("whole")

    def half() -> None:
        with atomic.staged_folder(tmp_path / "folder") as staging:
            (staging / "half").write_text("x")
            raise RuntimeError(words)

    with pytest.raises(MachineError, match=r"writing .*folder failed: .*free some space"):
        half()
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert (tmp_path / "folder" / "old").read_text() == "whole"
    assert not atomic.is_disk_fault(ValueError("No such device (os error 19)"))
    assert not atomic.is_disk_fault(FileNotFoundError(2, "No such file"))
    assert atomic.is_disk_fault(FileNotFoundError(2, "No usable temporary directory found in ['/tmp']"))


def test_safetensors_without_room_is_such_a_fault(tmp_path: Path) -> None:
    """The library itself, in a process without room."""
    program = (
        "import resource, sys, torch\n"
        "from safetensors.torch import save_file\n"
        "from pareto.state.atomic import staged_folder\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))\n"
        "with staged_folder(sys.argv[1]) as staging:\n"
        "    save_file({'a': torch.zeros(9)}, staging / 'a.safetensors')\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "new")],
        capture_output=True,
        text=True,
        check=False,
        env=environment,
    )
    assert "MachineError: writing" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
