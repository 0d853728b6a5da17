"""One episode of a stored agent in its run's environment, step by step."""

from __future__ import annotations

import base64
import io
import time
from typing import Any

import numpy as np

from pareto.config import read_yaml
from pareto.env_loader import refuse_unimported
from pareto.errors import ArtifactError, ParetoError, UsageError
from pareto.policy_set import ActPolicy, PolicySet
from pareto.tasks.env.sources import make_one

MOST_FRAMES = 300
"""Pictures of one episode; later steps come without."""


def play(run: PolicySet, policy: Any, seed: int, steps: int, frames: bool, limit_s: float) -> dict[str, Any]:
    """Let an agent act until the episode ends or the steps are used up.

    Args:
        run: of the agent.
        policy: the agent.
        seed: of the episode.
        steps: most of it.
        frames: whether to draw, where the environment knows "rgb_array".
        limit_s: most time for all of it.

    Returns:
        steps with observation, action and named reward; the plain sums of rewards; how it ended.

    Raises:
        UsageError: the policy does not act.
        ArtifactError: the run does not say which environment it is.
    """
    if not isinstance(policy, ActPolicy):
        raise UsageError(f"a {type(policy).__name__} writes text and does not act; ask /v1/chat/completions")
    env = _environment(run, frames)
    trace: list[dict[str, Any]] = []
    end, start = "steps", time.monotonic()
    try:
        observation, _ = env.reset(seed=seed)
        while len(trace) < steps and time.monotonic() - start < limit_s:
            action = policy.act(observation)
            step = {"observation": plain(observation), "action": plain(action)}
            if frames and len(trace) < MOST_FRAMES:
                step["frame"] = _picture(env)
            observation, reward, terminated, truncated, _ = env.step(_as_taken(action))
            step["reward"] = run.objectives.named(np.asarray(reward, dtype=np.float64))
            trace.append(step)
            if terminated or truncated:
                end = "terminated" if terminated else "truncated"
                break
    finally:
        env.close()
    sums = {name: float(sum(s["reward"][name] for s in trace)) for name in run.objectives.names}
    return {"steps": trace, "sums": sums, "end": end, "final_observation": plain(observation)}


def _environment(run: PolicySet, frames: bool) -> Any:
    path = run.folder / "config.yaml"
    try:
        task = read_yaml(path).data["task"]
        source, options = task["id"], task.get("arguments") or task.get("options") or {}
    except (ParetoError, OSError, KeyError, TypeError, AttributeError) as error:
        raise ArtifactError(f"{path} does not say which environment the run is of: {error}") from error
    refuse_unimported(source, f"{path}: task.id")
    try:
        return make_one(source, options, frames)
    except ParetoError:
        if not frames:
            raise
        return make_one(source, options, False)  # an environment that draws nothing still has a trace


def _picture(env: Any) -> str | None:
    """The present picture as a data address, or None where there is none."""
    try:
        pixels = env.render()
    except Exception:  # environments that draw nothing differ in how they say so
        return None
    if not isinstance(pixels, np.ndarray) or pixels.ndim != 3:
        return None
    from PIL import Image

    out = io.BytesIO()
    Image.fromarray(pixels.astype(np.uint8)).save(out, "PNG")
    return "data:image/png;base64," + base64.b64encode(out.getvalue()).decode()


def _as_taken(action: Any) -> Any:
    return action.item() if isinstance(action, np.ndarray | np.generic) and np.ndim(action) == 0 else action


def plain(value: Any) -> Any:
    """An observation or action as JSON."""
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return round(value, 6) if np.isfinite(value) else str(value)
    return value if isinstance(value, int | bool | str) or value is None else str(value)
