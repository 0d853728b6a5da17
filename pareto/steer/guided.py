"""Reward models choose the next step among several: weights act without any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet


@STEERERS.register(
    "guided", source="Li et al. (2025), arXiv 2510.01167: guided decoding, here by a weighted vector"
)
def guided(
    run: PolicySet,
    weights: np.ndarray,
    *,
    rewards: str | Path | Sequence[str | Path] | None = None,
    base: str = "reference",
    candidates: int = 5,
    rule: str = "sum",
    steps: dict[str, Any] | None = None,
    device: str = "cpu",
) -> Any:
    """Serve a policy whose every step is the best of several candidates under the weights.

    A token of the reply costs as many drawn tokens as there are candidates; replies say how many
    (`JudgedReply.generated_tokens`).

    Args:
        run: the policy set.
        weights: [m], checked; a direction where the run was made for directions.
        rewards: folders of reward models (`pareto.models.reward_models`) that score each objective once; None takes the
            one that the run trained for itself.
        base: what is guided: "reference", "auto" (the policy that is served for the weights without guidance), or the id of
            a policy.
        candidates: steps drawn for each that is kept.
        rule: "sum" or "worst".
        steps: where a step ends, such as {"kind": "tokens", "n": 1}; None takes what the first reward model was made for.
        device: where to compute.

    Returns:
        a `GuidedPolicy`.

    Raises:
        UsageError: no reward model is given or to be found.
        ObjectiveError: the reward models do not score each objective once.
    """
    from pareto.models.causal import load_causal_lm
    from pareto.models.guided import Guidance
    from pareto.models.guided_policy import GuidedPolicy
    from pareto.models.reference_folder import reference_folder
    from pareto.models.reward_models.model import load_reward_model
    from pareto.models.reward_models.vector import RewardVector
    from pareto.models.text_policy import TransformersPolicy

    reference = reference_folder(run, run[0])
    folders = [
        Path(f) for f in ([rewards] if isinstance(rewards, str | Path) else rewards or own_rewards(run))
    ]
    parts = [load_reward_model(folder, reference, device=device) for folder in folders]
    settings = {"candidates": candidates, "rule": rule, "steps": steps or parts[0].form.steps.model_dump()}
    vector = RewardVector(tuple(parts), run.objectives.names)
    if base == "reference":
        model, tokenizer = load_causal_lm(reference)
        policy: Any = TransformersPolicy(model.to(device), tokenizer, run.objectives)
    elif base == "auto":
        policy = STEERERS.get("auto")(run, weights, device=device)
    else:
        policy = run.policy(base, device=device)
    guidance = Guidance.model_validate(settings)
    return GuidedPolicy(policy, vector, run.objectives, np.asarray(weights, dtype=np.float64), guidance)


def own_rewards(run: PolicySet) -> list[Path]:
    """The reward model that a run trained for itself; of several seeds the first.

    Raises:
        UsageError: there is none, or it is not as it was written.
    """
    from pareto.models.reference_folder import check_once

    found = sorted((run.folder / "prerequisites").glob("*/reward_model.json"))
    if not found:
        raise UsageError(
            f"{run.folder} trained no reward model; give method 'guided' the folders of some: rewards=[...]"
        )
    check_once(run, found[0].parent.relative_to(run.folder).as_posix())
    return [found[0].parent]
