"""Run commands on a disk that is full from their k-th change of it on, each time repaired by a run on one with room.

`python -m tests.study.full_disk FOLDER CASE stays|passes EVERY` prints one JSON line per point: the exit code and the words of
the command that found no room, and what is there after the repair. Nothing is faked: RLIMIT_FSIZE is set to nothing at that
point, so that every write after it fails as on a full disk, whichever library makes it; names can still be changed. A full
disk that "stays" so is soon met by the store; one that "passes" at the next change tries every other place by itself.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from pareto.cli import main
from pareto.state import manifest
from pareto.study import front_json
from pareto.study.store import Store

STUDY = {
    "study": "fake",
    "task": {"kind": "fake", "units": 4},
    "method": {"name": "fake_method"},
    "weights": {"n": 2},
    "engine": {"device": "cpu"},
}
CHANGES = ("plan", "claim", "commit_all", "report", "set", "release")
STUDIES = Path(__file__).parents[1] / "soak" / "studies"
DATED = ("front.json", "manifest.json", "page.html", "page.json", "report.md")
"""Files of a command's output that hold the time they were made at, or are written from such."""
IMPORTS = ("--import", "tests.study.fakes")


def full_from(point: int, passes: bool) -> Callable[[], int]:
    """Let the disk be full from the k-th change on, or up to the next one; returns what tells how many there were."""
    count = 0
    room, most = resource.getrlimit(resource.RLIMIT_FSIZE)

    def change() -> None:
        nonlocal count
        count += 1
        if count == point:
            resource.setrlimit(resource.RLIMIT_FSIZE, (0, most))
        elif count == point + 1 and passes:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, most))

    def audit(event: str, arguments: tuple[Any, ...]) -> None:
        written = (
            event == "open" and isinstance(arguments[2], int) and arguments[2] & (os.O_WRONLY | os.O_RDWR)
        )
        if written or event in ("os.mkdir", "os.rename", "sqlite3.connect"):
            change()

    def counted(real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            change()
            return real(*args, **kwargs)

        return call

    sys.addaudithook(audit)
    for name in CHANGES:
        setattr(Store, name, counted(getattr(Store, name)))
    return lambda: count


def run(arguments: Sequence[str], point: int = 0, passes: bool = False) -> tuple[int, str, int]:
    """(exit code, what was said, changes of the disk) of a command in a child, without room from a point on (0: never)."""
    reader, writer = os.pipe()  # a pipe has room
    child = os.fork()
    if child == 0:
        os.dup2(writer, 1)
        os.dup2(writer, 2)
        count = full_from(point, passes)
        code = main(list(arguments))
        sys.stdout.flush()
        os.write(writer, f"\n{count()}".encode())
        os._exit(code)
    os.close(writer)
    with os.fdopen(reader, "rb") as pipe:
        said = pipe.read().decode(errors="replace")
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    said, _, changes = said.rpartition("\n")
    return code, said, int(changes) if changes.isdigit() else 0


def contents(folder: Path) -> dict[str, str]:
    """Digests of all that is in a folder but the store, which is opened to be read, and the lock."""
    names = manifest.names(folder) if folder.is_dir() else []
    return {name: manifest.sha256(folder / name) for name in names if not name.startswith("sweep.")}


def sweep(config: Path, out: Path, *settings: str) -> list[str]:
    """The command that sweeps."""
    sets = [word for setting in settings for word in ("--set", setting)]
    return ["sweep", str(config), "--out", str(out), "--workers", "0", *IMPORTS, *sets]


def cases(folder: Path) -> dict[str, tuple[list[str], list[str], bool]]:
    """Case -> (command that makes what is there before, the command, whether the old state must stay as it was)."""
    config, run_, out = folder / "study.yaml", folder / "run", folder / "out"
    table, objectives = str(folder / "points.csv"), "a:max,b:min"
    whole = sweep(config, run_)
    found = {
        "sweep": ([], whole, False),
        "extended sweep": (whole, sweep(config, run_, "weights.n=4"), False),
        "report": (whole, ["report", str(run_)], True),
        "comparison": (whole, ["report", str(run_), "--out", str(out / "page.html")], True),
        "published": (whole, ["report", str(run_), "--publish", str(out)], True),
        "score": (whole, ["score", str(run_), "--out", str(out / "scores.json"), *IMPORTS], True),
        "import": (whole, ["import", table, "--objectives", objectives, "--out", str(out)], True),
    }
    for path in sorted(STUDIES.glob("*.yaml")):
        command = sweep(path, run_)
        found[path.stem] = ([], command, False)
        if path.stem == "cmorl":
            export = ["export", str(run_), "--at", "max treasure", "--out", str(out)]
            found["export"] = (command, export, True)
    return found


def points(folder: Path, case: str, passes: bool, every: int) -> None:
    """Every so many points of a case, one line each."""
    sys.dont_write_bytecode = True
    front_json._hypervolume_interval = lambda *args: (
        None
    )  # a thousand resamples per point would teach nothing
    os.fsync = lambda fd: None
    Store.SYNCHRONOUS = "OFF"
    (folder / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (folder / "points.csv").write_text("a,b\n1,2\n2,3\n")
    before, command, stays = cases(folder)[case]
    run_, base, out = folder / "run", folder / "base", folder / "out"
    if before:
        code, said, _ = run(before)
        assert code == 0, said
        run_.rename(base)
    point, changes = 0, 1
    while point <= changes:
        for path in (run_, out):
            shutil.rmtree(path, ignore_errors=True)
        out.mkdir()
        if before:
            shutil.copytree(base, run_)
        old = contents(run_)
        code, said, counted = run(command, point, passes)
        changes = counted if point == 0 else changes
        left = contents(run_)
        again, told, _ = run(command) if code else (0, "", 0)
        line = {
            "point": point,
            "of": changes,
            "code": code,
            "said": said,
            "again": again,
            "told": told,
            "old stays": not stays or {name: left.get(name) for name in old} == old,
            "problems": manifest.verify(run_)
            + (manifest.verify(out) if (out / manifest.NAME).exists() else []),
            "content": _content(run_),
            "out": {k: v for k, v in contents(out).items() if k not in DATED},
        }
        print(json.dumps(line), flush=True)
        point += every if point else 1


def faults(lines: Sequence[dict[str, Any]]) -> list[str]:
    """What should not be: the lines of one case, the first of which had room."""
    whole, found = lines[0], []
    for line in lines:
        message = line["said"].strip().rpartition("\n")[2]
        for wrong, what in (
            (line["code"] not in (0, 5), f"exit code {line['code']}: {message}"),
            (line["code"] == 5 and not message.startswith("pareto "), f"unclear: {message}"),
            ("Traceback" in line["said"] + line["told"], "a traceback"),
            (line["again"] != 0, f"not repaired: {line['told']}"),
            (not line["old stays"], "the old state has changed"),
            (line["problems"] != [], f"problems: {line['problems']}"),
            (line["content"] != whole["content"] or line["out"] != whole["out"], "something else came out"),
        ):
            if wrong:
                found.append(f"point {line['point']}: {what}")
    return found


def _content(run_: Path) -> str:
    return json.loads((run_ / "front.json").read_text())["provenance"]["content_sha256"]


if __name__ == "__main__":
    points(Path(sys.argv[1]), sys.argv[2], sys.argv[3] == "passes", int(sys.argv[4]))
