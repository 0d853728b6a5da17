"""Training steps of the core beside TRL's DPOTrainer: work, memory, time and numbers, on the same model and tokens.

    python tests/bench/bench_core.py                    # what is missing of the table, then reports/core
    python tests/bench/bench_core.py --rigs full_8k     # some of it
    python tests/bench/bench_core.py --device cuda      # the same table for a Llama of a billion weights in bf16

Every cell (rig, program, repeat) is a process of its own and leaves one JSON file in runs/bench_core/<device>; a stopped run
goes on where it stopped. Repeats alternate between the programs, so that what else the machine does falls on all of them.
Both programs get the same weights, the same token ids in the same batches, AdamW at 1e-3 and clipping at 1.

Programs: `pareto` is `pareto.core.loop.train` on a `ResponseTable`, with its reference pass; `trl_compact` is TRL with the
head on response positions only, which TRL does on GPUs but not on a CPU, where we switch it on; `trl` is TRL as it comes.
Ragged data also run `_unsorted`: batches in random order, which is what TRL does with data; `pareto_apart` has a row for every
example, so that what packing gives can be seen.
"""

import argparse
import json
import os
import subprocess
import sys
from pathlib import Path

import core_ours
import core_rigs as rigs
import core_trl
from bench_core_report import write

TIMED, NUMERIC = 2, 20  # steps beside those that are not timed, and of the long ones


def run_cell(rig_name, program, device, n_steps, gradient_file):
    import torch

    torch.set_num_threads(2)
    rig = rigs.RIGS[rig_name]
    if program == "float64":
        return core_ours.run_float64(rig, device, n_steps, gradient_file)
    name, _, suffix = program.partition("_unsorted")
    sort = program == name
    if name.startswith("pareto"):
        return core_ours.run_pareto(rig, device, n_steps, gradient_file, sort=sort, packed=suffix != "_apart")
    order = rigs.batches_of(rig, n_steps, sort=sort)
    return core_trl.run_trl(rig, device, n_steps, gradient_file, compact=name == "trl_compact", order=order)


def cells(names, alternations):
    """(rig, program, repeat, steps) in the order in which they run: repeats alternate between the programs.

    Last come the long ones, which only compare losses.
    """
    short = rigs.WARM + TIMED
    for repeat in map(str, range(alternations)):
        for rig in names:
            yield rig, "pareto", repeat, short
            yield rig, "trl_compact", repeat, short
        for rig in names:
            if rigs.RIGS[rig].get("ragged"):
                for program in ("trl_compact_unsorted", "pareto_unsorted", "pareto_unsorted_apart"):
                    yield rig, program, repeat, short
    for rig in names:
        yield rig, "float64", "0", short
    for rig in names:
        yield rig, "trl", "0", short
    for rig in names:
        for program in ("pareto", "trl_compact"):
            yield rig, program, "numbers", NUMERIC


def measure(args):
    """Run every missing cell in a process of its own."""
    folder = args.scratch / args.device
    folder.mkdir(parents=True, exist_ok=True)
    for rig, program, repeat, steps in cells(args.rigs, args.alternations):
        path = folder / f"{rig}-{program}-{repeat}.json"
        if path.exists():
            continue
        command = [sys.executable, __file__, "--device", args.device, "--cell", rig, program, str(steps)]
        if repeat == "0":
            command += ["--gradient", str(path.with_suffix(".npy"))]
        environment = {**os.environ, "OMP_NUM_THREADS": "2"}
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
        lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
        if done.returncode or not lines:
            print(f"{path.stem} failed\n{done.stderr[-2000:]}", flush=True)
            continue
        path.write_text(lines[-1])
        shown = ("gflop_per_step", "over_start_mb", "cpu_s_per_step", "wall_s_per_step")
        print(path.stem, {k: round(v, 2) for k, v in json.loads(lines[-1]).items() if k in shown}, flush=True)


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--rigs", nargs="+", choices=rigs.RIGS, default=list(rigs.RIGS))
    parser.add_argument("--alternations", type=int, default=3)
    parser.add_argument("--scratch", type=Path, default=rigs.ROOT / "runs" / "bench_core")
    parser.add_argument("--out", type=Path, default=rigs.ROOT / "reports" / "core")
    parser.add_argument("--cell", nargs=3, metavar=("RIG", "PROGRAM", "STEPS"), help=argparse.SUPPRESS)
    parser.add_argument("--gradient", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.device == "cuda":
        import torch

        if not torch.cuda.is_available():
            raise SystemExit(
                "--device cuda needs a CUDA device; torch sees none here, so nothing was measured"
            )
    if args.cell:
        rig, program, steps = args.cell
        print(json.dumps(run_cell(rig, program, args.device, int(steps), args.gradient)))
        return
    measure(args)
    write(args.scratch, args.out, rigs.RIGS, rigs.BATCH)


if __name__ == "__main__":
    main()
