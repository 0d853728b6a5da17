"""Measure what the suite itself takes for a cell and write it to reports/reliability.

python tests/soak/throughput.py                 # 10,000 cells through the store, 10,000 with their files, 100 through Ray
python tests/soak/throughput.py --cells 1000 --ray-cells 20
"""

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))
os.environ.update(
    PYTHONPATH=os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]),
    RAY_worker_niceness="0",  # else Ray's workers yield to everything, and a busy machine is measured
)

from tests.soak import passage  # noqa: E402  # the root comes first

TARGET_CELLS_PER_S = 200
TARGET_RAY_S = 0.5


def measure(cells, ray_cells, scratch):
    """All figures; every measurement in a new folder that is deleted afterwards."""

    def fresh(measured, *arguments):
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            return measured(*arguments, Path(folder))

    found = {
        "flush_s": fresh(passage.flush_s),
        "store": fresh(passage.through_the_store, cells),
        "files": fresh(passage.through_the_controller, cells),
    }
    if ray_cells:
        found["local"] = fresh(passage.through_an_engine, ray_cells, "local")
        found["ray"] = fresh(passage.through_an_engine, ray_cells, "ray")
        found["ray_overhead_s"] = found["ray"]["s_per_cell"] - found["local"]["s_per_cell"]
    return found


def write(out, found):
    out.mkdir(parents=True, exist_ok=True)
    facts = {"platform": platform.platform(), "python": platform.python_version(), "cores": os.cpu_count()}
    facts["load"] = os.getloadavg()[0]  # of other programs too
    (out / "throughput.json").write_text(json.dumps({**facts, **found}, indent=1) + "\n")
    store, files = found["store"], found["files"]
    lines = [
        "# What the suite itself takes for a cell",
        "",
        "Written by `python tests/soak/throughput.py`; no figure is edited by hand. One process, its heaviest part a local disk "
        f"on which one flush of 100 bytes takes {found['flush_s'] * 1e3:.1f} ms.",
        "",
        f"{facts['platform']}, Python {facts['python']}, {facts['cores']} cores, load {facts['load']:.0f}.",
        "",
        "| | cells | planning, s | cells, s | CPU of both, s | cells per second | target |",
        "|---|---:|---:|---:|---:|---:|---:|",
    ]
    for name, row in (
        ("a store alone: planned, claimed, reported, committed one by one, each flushed", store),
        ("a sweep: the same, and the files of each given their places", files),
    ):
        lines.append(
            f"| {name} | {row['cells']:,} | {row['plan_s']:.2f} | {row['cells_s']:.1f} | {row['cpu_s']:.1f} | "
            f"{row['cells_per_s']:.0f} | "
            f"{TARGET_CELLS_PER_S} |"
        )
    lines += [
        "",
        "A cell here is one policy of one small file, scores of two splits of four units, one sample and one line of metrics. "
        "What its own work would cost is left out: these files are written by an engine of the test, and that time is taken "
        "off. A sweep commits cells that end within half a second together, so that they share a flush; a store alone, asked "
        "for one cell at a time, flushes for each, and is as fast as the disk.",
    ]
    if "ray" in found:
        lines += [
            "",
            "| engine, one cell at a time | cells | seconds per cell |",
            "|---|---:|---:|",
            *(
                f"| {name} | {found[name]['cells']} | {found[name]['s_per_cell']:.3f} |"
                for name in ("local", "ray")
            ),
            "",
            f"Ray takes {found['ray_overhead_s']:.3f} s more for a cell (target: under {TARGET_RAY_S}), on a cluster of this one "
            "machine: the cell's files go there and come back. Workers of both run at the same niceness. Counted from the end of the first cell to the end of the last.",
        ]
    (out / "throughput.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cells", type=int, default=10_000, help="through the store")
    parser.add_argument("--ray-cells", type=int, default=100, help="through engine ray; 0 leaves it out")
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "reliability")
    args = parser.parse_args()
    args.scratch.mkdir(parents=True, exist_ok=True)
    write(args.out, measure(args.cells, args.ray_cells, args.scratch))
    print((args.out / "throughput.md").read_text())


if __name__ == "__main__":
    main()
