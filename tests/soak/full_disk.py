"""Run every command that writes on a disk without room, at every change of it, and write what became of it to reports/reliability.

python tests/soak/full_disk.py              # all cases; a stopped one goes on with the next case
python tests/soak/full_disk.py --every 10
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.study.full_disk import STUDIES, cases, faults  # noqa: E402  # the root comes first

METHODS_EVERY = 12
"""Of sweeps of real methods so many times fewer points are tried: each takes seconds."""


def try_case(case, how, every, scratch):
    """The lines of one case, from a file where they are there already."""
    path = scratch / f"{case.replace(' ', '-')}-{how}.jsonl"
    if not path.exists():
        with (
            tempfile.TemporaryDirectory(dir=scratch) as folder,
            open(path.with_suffix(".partial"), "w") as out,
        ):
            command = [sys.executable, "-m", "tests.study.full_disk", folder, case, how, str(every)]
            path_to_root = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
            subprocess.run(
                command, stdout=out, cwd=ROOT, env={**os.environ, "PYTHONPATH": path_to_root}, check=True
            )
        path.with_suffix(".partial").rename(path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def write(out, found):
    out.mkdir(parents=True, exist_ok=True)
    rows, wrong = [], {}
    for (case, how), lines in found.items():
        codes = [line["code"] for line in lines[1:]]
        told = faults(lines)
        rows.append(
            {"command": case, "full disk": how, "changes": lines[0]["of"], "points": len(codes)}
            | {"exit code 5": codes.count(5), "not met": codes.count(0), "faults": len(told)}
        )
        if told:
            wrong[f"{case}, {how}"] = told
    facts = {"platform": platform.platform(), "python": platform.python_version()}
    (out / "full_disk.json").write_text(json.dumps({**facts, "rows": rows, "faults": wrong}, indent=1) + "\n")
    lines = [
        "# A disk without room",
        "",
        "Written by `python tests/soak/full_disk.py`; no figure is edited by hand. Each command is run once to count its changes "
        "of the disk (files opened for writing, folders, renames, changes of the store), and then again and again, the disk "
        "being full (RLIMIT_FSIZE, so that real writes of every library fail) from one of them on: for good (*stays*), or up to "
        "the next one (*passes*), which tries every place by itself. It must end with exit code 5 and one clear message, or "
        "not need to write at that point (*not met*); what stood there before must be whole; and the same command, with room, "
        "must then give what it would have given. *Points* says how many of the changes were tried; of sweeps of real methods "
        "only some, because each takes seconds.",
        "",
        f"{facts['platform']}, Python {facts['python']}.",
        "",
        "| " + " | ".join(rows[0]) + " |",
        "|---|---|" + "---:|" * (len(rows[0]) - 2),
        *("| " + " | ".join(str(value) for value in row.values()) + " |" for row in rows),
    ]
    (out / "full_disk.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--every", type=int, default=1, help="every so many changes")
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs" / "full_disk")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "reliability")
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    methods, found = {path.stem for path in STUDIES.glob("*.yaml")}, {}
    for case in cases(args.scratch):
        for how in ("passes", "stays"):
            every = args.every * (METHODS_EVERY if case in methods else 1)
            found[case, how] = try_case(case, how, every, args.scratch)
            print(case, how, len(faults(found[case, how])), "faults", flush=True)
            write(args.out, found)


if __name__ == "__main__":
    main()
