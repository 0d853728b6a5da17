"""A method for agents on an environment that a function makes."""

from __future__ import annotations

import itertools
import json
import tempfile
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from pareto.errors import UsageError
from pareto.methods import FITTERS
from pareto.policy_set import PolicySet, load
from pareto.study.config import ScoreConfig, StudyConfig, WeightsConfig
from pareto.study.run import run_study
from pareto.tasks import TASKS

_NUMBER = itertools.count(1)


@FITTERS.register("env", source="this suite")
def fit_env(
    method: Any,
    env_fn: Callable[[], Any],
    *,
    gamma: float | None = None,
    ref_point: Mapping[str, float] | None = None,
    weights: Iterable[Mapping[str, float]] | None = None,
    n_weights: int | None = None,
    seed: int = 0,
    out: str | Path | None = None,
    task: Mapping[str, Any] | None = None,
    callbacks: Iterable[Callable[[Mapping[str, float]], object]] = (),
) -> PolicySet:
    """Fit a front of policies in this process and score it on episodes that chose nothing.

    The policies are stored and can be loaded anywhere; scoring them again takes the function, so only this process can.

    Args:
        method: the method, which is its own configuration.
        env_fn: makes one environment with vector rewards (an array or a mapping objective -> number), or a vector environment.
        gamma: discount of the returns; None takes what the environment says.
        ref_point: objective -> number that hypervolume is measured from; None: by the rule of every study.
        weights: objective -> number, one mapping per policy of a first stage; None: corners and cell centres.
        n_weights: how many weights where `weights` is None.
        seed: study seed.
        out: run folder; None makes one that the caller may keep (its path is the result's `folder`).
        task: further settings of the environment task (names, max_episode_steps, heldout_episodes, ...).
        callbacks: called with the figures of progress a few times a second.

    Returns:
        the policy set, as a sweep would give it.

    Raises:
        UsageError: `env_fn` cannot be called.
    """
    if not callable(env_fn):
        raise UsageError(
            f"expected a function that makes an environment, such as lambda: MyEnv(); got {type(env_fn).__name__}"
        )
    kind: Any = TASKS.get("env")
    settings = {"kind": "env", "id": f"function-{next(_NUMBER)}", "gamma": gamma, **(task or {})}
    kind.remember(settings["id"], env_fn)
    chosen = tuple(weights) if weights is not None else None
    study = StudyConfig(
        study=method.name,
        task=kind.model_validate_json(json.dumps(settings)),
        method=method,
        weights=WeightsConfig(kind="list", list=chosen, corners=False)
        if chosen
        else WeightsConfig(n=n_weights),
        seeds=(seed,),
        score=ScoreConfig(ref_point=ref_point),
    )

    def tell(notice: Any) -> None:
        if notice.kind == "progress":
            for callback in callbacks:
                callback(notice.data["figures"])

    root = Path(out) if out is not None else Path(tempfile.mkdtemp(prefix="pareto-"))
    run_study(study, root, workers=0, notify=tell)
    return load(root)
