"""What steering and exporting mean for policies that act in an environment."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.cli._numbers import written
from pareto.errors import UsageError

if TYPE_CHECKING:
    from pareto.policy_set import PolicySet


def rollouts(run: PolicySet, policy: Any, args: argparse.Namespace) -> None:
    """Play episodes and print their mean returns; film the first where a file is named."""
    import numpy as np

    from pareto import rng
    from pareto.tasks.env.film import check_format, frames_of, save_film

    video = None if args.video is None else check_format(Path(args.video))
    task = _task(run)
    seeds = [rng.derive_seed("rollout", args.seed, i) for i in range(args.episodes)]
    played = task.play(policy.actor, "rollout", seeds)
    returns = task.objectives.orient(played.returns)
    print(f"{args.episodes} episodes of {played.lengths.mean():.4g} steps at gamma {task.discount:g}:")
    print(f"mean return {written(task.objectives.named(returns.mean(axis=0)))}")
    if args.episodes > 1:
        error = returns.std(axis=0, ddof=1) / np.sqrt(args.episodes)
        print(f"standard error {written(task.objectives.named(error))}")
    if video is not None:
        draw = rng.generator("rollout actions", args.seed)
        with task.open(1, render=True) as envs:
            frames = frames_of(envs, lambda seen: policy.actor.act(seen, draw), seeds[0])
        save_film(frames, video)
        print(f"{video}: {len(frames)} frames")


def export(run: PolicySet, args: argparse.Namespace) -> None:
    """Write the policy for the given weights or query as a state dict, and as ONNX where wanted."""
    from pareto.models.agent_module import export_agent

    if args.merge or args.rank is not None or args.extrapolate:
        raise UsageError("--merge, --rank and --extrapolate are for language models; leave them out")
    policy = run.steer(args.weights, at=args.at)
    weights: Any = None if args.weights is None else dict(args.weights)
    facts = {"weights": weights, "at": args.at, "objectives": run.objectives.to_json()}
    names = export_agent(
        policy.actor, policy.observations, policy.actions, args.out, onnx=args.onnx, facts=facts
    )
    print(f"{args.out}: {', '.join(names)} for {args.at if weights is None else written(weights)}")


def import_all(modules: list[str]) -> None:
    """Import what registers networks of one's own; without any, nothing is loaded."""
    if modules:
        from pareto.study.config import import_module

        for module in modules:
            import_module(module)


def are_agents(run: PolicySet) -> bool:
    """Whether the policies of a run act in an environment."""
    return any(record.kind == "agent" for record in run.records)


def _task(run: PolicySet) -> Any:
    from pareto.study.config import load_stored_study

    task: Any = load_stored_study(run.folder / "config.yaml").task
    return task
