"""`pareto steer`: weights in, text or episodes out."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.cli._numbers import named_numbers, written
from pareto.cli._study_arguments import (
    add_import_argument,
    add_of_argument,
    add_offline_argument,
    add_trust_argument,
)
from pareto.errors import UsageError

if TYPE_CHECKING:
    from pareto.policy_record import PolicyRecord
    from pareto.policy_set import PolicySet

HELP = "text or episodes under given weights, or under the measured policy that meets a constraint"
EXAMPLES = """examples:
  pareto steer runs/demo --weights helpful=0.7,brief=0.3 --prompt 'How do I stay safe online?'
  pareto steer runs/demo --weights helpful=0.7,brief=0.3 --method soup --prompt 'How do I stay safe online?'
  pareto steer runs/demo --weights helpful=0.7,brief=0.3 --method mod --option divergence=forward_kl
  pareto steer runs/demo --at 'helpful >= 0.6, max brief'
  pareto steer runs/minecart --at 'ore_1 >= 0.5, max ore_2' --episodes 20 --video cart.gif
  pareto steer runs/lab_orchestrator --weights auto --prompt 'How do I cook rice well? I am in a hurry. Answer for a child.'
  pareto steer runs/demo --weights helpful=0.7,brief=0.3 --method orchestrator --option source=runs/lab_orchestrator

methods: auto (a policy made for these weights, else the exact mixture, else the nearest; says which), soup (exact mixture of
the corner policies' updates), mod (their next-token distributions mixed), factor_averaging, orchestrator (each
prompt's own weights, tilted by the ones given), nearest"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="DIR", help="run folder")
    add_of_argument(parser)
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument(
        "--weights",
        type=lambda text: text if text == "auto" else named_numbers(text),
        metavar="A=0.7,B=0.3",
        help="one number per objective, or 'auto': each prompt's own (method orchestrator)",
    )
    where.add_argument("--at", metavar="QUERY", help="such as 'a >= 0.6, max b', on measured values")
    parser.add_argument(
        "--method", default="auto", help="how to serve the weights; see `pareto list steering`"
    )
    parser.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="of the method, such as among=all or divergence=jsd; may be repeated",
    )
    parser.add_argument(
        "--extrapolate", action="store_true", help="allow weights outside the simplex (soup, mod)"
    )
    parser.add_argument(
        "--prompt",
        nargs="+",
        action="extend",
        metavar="TEXT",
        help="default: a prompt the run kept samples of",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the sampled replies (default 0)")
    parser.add_argument(
        "--temperature", type=float, default=1.0, help="of sampling; 0 takes the likeliest word"
    )
    parser.add_argument(
        "--max-new-tokens", type=int, default=64, metavar="N", help="longest reply (default 64)"
    )
    parser.add_argument(
        "--episodes", type=int, default=1, metavar="N", help="agents: episodes to play (default 1)"
    )
    parser.add_argument("--video", metavar="FILE", help="agents: film the first episode (.gif, .webp, .png)")
    add_import_argument(parser)
    add_offline_argument(parser)
    add_trust_argument(parser)


def run(args: argparse.Namespace) -> int:
    from pareto.cli import _agents
    from pareto.policy_set import TextPolicy, load

    _agents.import_all(args.imports)
    loaded = load(args.folder, args.of)
    if args.weights == "auto":  # the prior that leaves every prompt its own weights
        args.weights = dict.fromkeys(loaded.objectives.names, 1.0 / len(loaded.objectives))
        args.method = "orchestrator" if args.method == "auto" else args.method
    record = _record(loaded, args)
    options = _options(args)
    policy = loaded.steer(args.weights, at=args.at, method=args.method, **options)
    agents = _agents.are_agents(loaded)
    if not agents and not isinstance(policy, TextPolicy):
        raise UsageError(
            f"the policies of {args.folder} act in an environment that their run does not name; use them from Python: "
            "pareto.load(...).steer(...).act(observation)"
        )
    used = args.weights if args.weights is not None else record.weights
    print(f"weights: {'none' if used is None else written(dict(used))} ({_method(loaded, args, policy)})")
    print(f"nearest measured: {record.id}, {written(dict(record.values))}")
    if agents:
        _agents.rollouts(loaded, policy, args)
        return 0
    prompts = args.prompt or [_kept_prompt(loaded, record)]
    replies = policy.generate(
        prompts, max_new_tokens=args.max_new_tokens, seed=args.seed, temperature=args.temperature
    )
    for prompt, reply in zip(prompts, replies, strict=True):
        print(f"\n> {prompt}\n{reply}")
    return 0


def _options(args: argparse.Namespace) -> dict[str, Any]:
    """Options of the method; what reads as JSON is that, anything else a word."""
    options: dict[str, Any] = {"extrapolate": True} if args.extrapolate else {}
    for text in args.option:
        name, equals, value = text.partition("=")
        if not (equals and name.isidentifier()) or name in options:
            raise UsageError(f"expected --option NAME=VALUE, each name once; got {text!r}")
        try:
            options[name] = json.loads(value)
        except ValueError:
            options[name] = value
    return options


def _method(loaded: PolicySet, args: argparse.Namespace, policy: Any) -> str:
    """What serves the weights, and for `auto` why."""
    what = f"method {args.method}"
    if args.method == "auto" and args.weights is not None:
        from pareto.steer.auto import choose

        weights = loaded.check_weights(args.weights, extrapolate=args.extrapolate)
        choice = choose(loaded, weights, extrapolate=args.extrapolate)
        what += f", {choice.method}: {choice.why}"
    describe = getattr(policy, "describe", None)
    return f"{what}; {describe()}" if describe is not None else what


def _record(loaded: PolicySet, args: argparse.Namespace) -> PolicyRecord:
    """The measured policy nearest to what was asked."""
    from pareto.steer.assigned import assigned_record
    from pareto.steer.nearest import nearest_record
    from pareto.steer.select import parse_query, select_record

    if args.at is not None:
        return select_record(loaded, parse_query(args.at, loaded.objectives))
    weights = loaded.check_weights(args.weights, extrapolate=args.extrapolate)
    if all(record.weights is None for record in loaded):
        return assigned_record(loaded, weights)
    return nearest_record(loaded, weights)


def _kept_prompt(loaded: PolicySet, record: PolicyRecord) -> str:
    """The first prompt among the samples that the run kept of a policy."""
    path = Path(loaded.folder) / "samples" / f"{record.id}.jsonl"
    try:
        with path.open(encoding="utf-8") as lines:
            return str(json.loads(next(lines))["prompt"])
    except (OSError, StopIteration, ValueError, KeyError, TypeError) as error:
        raise UsageError(f"give a prompt with --prompt; {path} holds none") from error
