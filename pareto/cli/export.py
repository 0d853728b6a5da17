"""`pareto export`: the policy for given weights as files that other programs load."""

from __future__ import annotations

import argparse
from pathlib import Path

from pareto.cli._numbers import named_numbers, written
from pareto.cli._study_arguments import (
    add_import_argument,
    add_of_argument,
    add_offline_argument,
    add_trust_argument,
)
from pareto.errors import UsageError

HELP = "one ordinary PEFT adapter, a merged model, or an agent's network, for exactly the given weights"
EXAMPLES = """examples:
  pareto export runs/demo --weights helpful=0.7,brief=0.3 --out adapters/mostly-helpful
  pareto export runs/demo --weights helpful=0.7,brief=0.3 --merge --out models/mostly-helpful
  pareto export runs/dst --weights treasure=0.7,time=0.3 --onnx --out policies/mostly-treasure

The adapter is the exact sum of the nearest measured policies' updates around the weights (--among corners: of the policies
made for one objective alone), on the reference model of the run. It loads with PeftModel.from_pretrained(reference, OUT)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="run folder")
    add_of_argument(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--weights", type=named_numbers, metavar="A=0.7,B=0.3", help="one number per objective"
    )
    where.add_argument("--at", metavar="QUERY", help="agents: such as 'a >= 0.6, max b', on measured values")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new or empty folder")
    parser.add_argument(
        "--merge", action="store_true", help="write a whole model with its tokenizer, as safetensors"
    )
    parser.add_argument(
        "--among",
        default="all",
        metavar="POLICIES",
        help="what is mixed: all (default), corners, or policy ids separated by commas",
    )
    parser.add_argument(
        "--study-seed", type=int, metavar="N", help="whose policies (default: the first that has them)"
    )
    parser.add_argument(
        "--rank",
        type=int,
        metavar="N",
        help="cut the adapter to rank N and say what that loses (default: exact)",
    )
    parser.add_argument(
        "--onnx", action="store_true", help="agents: policy.onnx beside the state dict (extra onnx)"
    )
    parser.add_argument("--extrapolate", action="store_true", help="allow weights outside the simplex")
    add_import_argument(parser)
    add_offline_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    if args.merge and args.rank is not None:
        raise UsageError("--rank cuts an adapter; a merged model has none: leave out --rank or --merge")
    if args.out.exists() and (not args.out.is_dir() or any(args.out.iterdir())):
        raise UsageError(f"--out must be a new or an empty folder; {args.out} holds something")
    from pareto.cli import _agents
    from pareto.policy_set import load
    from pareto.steer import exporting

    _agents.import_all(args.imports)
    loaded = load(args.folder, args.of)
    if _agents.are_agents(loaded):
        _agents.export(loaded, args)
        return 0
    if args.onnx or args.at is not None:
        raise UsageError(
            "--onnx and --at are for agents; the policies of this run are language models: give --weights alone"
        )
    weights = loaded.check_weights(args.weights, extrapolate=args.extrapolate)
    among = args.among if args.among in ("all", "corners") else tuple(args.among.split(","))
    more = {"among": among, "study_seed": args.study_seed, "extrapolate": args.extrapolate}
    if args.merge:
        done = exporting.export_model(loaded, weights, args.out, **more)
    else:
        done = exporting.export_adapter(loaded, weights, args.out, rank=args.rank, **more)
    rank = "" if done.rank is None else f" of rank {done.rank}"
    print(f"{args.out}: {done.kind}{rank} for {written(args.weights)}")
    print("mixture: " + ", ".join(f"{share:.6g} x {name}" for name, share in done.shares.items()))
    if done.error:
        print(f"cut: relative error of a layer's update up to {done.error:.2g}; leave out --rank for none")
    if min(done.shares.values()) < 0 or (weights < 0).any():
        print("extrapolated: outside the simplex, where no policy was measured")
    return 0
