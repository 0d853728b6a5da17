"""Weights that nobody sets: an orchestrator reads them off every prompt, and a steerable policy serves them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from pareto.errors import UsageError
from pareto.policy_set import STEERERS, PolicySet, load
from pareto.steer.auto import choose
from pareto.steer.nearest import load_record, nearest_record

KIND = "orchestrator"


@STEERERS.register("orchestrator", source="Preference Orchestrator (2025), arXiv 2511.10656")
def orchestrator(
    run: PolicySet,
    weights: np.ndarray,
    *,
    source: str | PolicySet | None = None,
    through: str | None = None,
    strength: float = 1.0,
    **options: Any,
) -> Any:
    """Serve every prompt under weights of its own,  w(x) proportional to weights * g(x)^strength.

    The given weights are the user's prior: uniform ones leave the choice to the prompt (`weights="auto"`), and an objective of
    weight 0 stays out. A run that method `orchestrator` made holds policies trained that way, and the one whose prior is
    nearest is served. The policies of any other run are steered row by row by its own method, with the orchestrator of
    `source`.

    Args:
        run: the policy set.
        weights: [m] on the simplex, the prior.
        source: run (its folder, or as loaded) that holds an orchestrator for the same objectives.
        through: steering method that takes weights row by row (soup, mod, heads, prompt, ...); None takes the one that the run
            allows.
        strength: >= 0, of the orchestrator against the prior; 0 serves the prior.
        options: of the method.

    Raises:
        UsageError: no orchestrator, one for other objectives, or policies that do not take weights row by row.
    """
    if source is None:
        own = replace(run, records=tuple(r for r in run.records if r.kind == KIND and r.weights is not None))
        if not own.records:
            raise UsageError(
                f"{run.folder} holds no orchestrator; name a run that does with the option source (made by method orchestrator)"
            )
        if through is not None or strength != 1.0:
            raise UsageError(
                "the policies of this run were trained under their orchestrator; options through and strength steer other runs: "
                "give them with source"
            )
        return load_record(run, nearest_record(own, weights), KIND, options)
    from pareto.models.orchestrated_policy import OrchestratedPolicy, PromptReader
    from pareto.models.orchestrator import load_orchestrator
    from pareto.models.reference_folder import reference_folder
    from pareto.models.text_policy import DecodablePolicy

    holder = source if isinstance(source, PolicySet) else load(Path(source))
    record = next((r for r in holder if r.kind == KIND), None)
    if record is None:
        raise UsageError(
            f"{holder.folder} holds no policy of kind {KIND!r}, beside which an orchestrator would lie"
        )
    network, facts = load_orchestrator(holder.checked_folder(record))
    names = list(facts["objectives"])
    if set(names) != set(run.objectives.names):
        raise UsageError(
            f"the orchestrator of {holder.folder} weighs {', '.join(names)}; {run.folder} has {', '.join(run.objectives.names)}"
        )
    inner_name = through or _row_by_row(run, weights)
    if inner_name == "soup":
        options = {"among": "all"} | options
    inner = STEERERS.get(inner_name)(run, weights, **options)
    if not isinstance(inner, DecodablePolicy) or not _takes_rows(inner):
        raise UsageError(
            f"steering method {inner_name!r} serves one policy of {run.folder}, which takes no weights prompt by prompt; policies "
            "that do: adapters made for each objective (soup, mod), action heads, policies that read their weights"
        )
    from pareto.models.causal import load_causal_lm

    base, tokenizer = load_causal_lm(reference_folder(holder, record))
    order = tuple(names.index(name) for name in run.objectives.names)
    reader = PromptReader(network, order, base.to(options.get("device", "cpu")), tokenizer)
    return OrchestratedPolicy(inner, reader, weights, strength, f"the orchestrator of {holder.folder}")


def _row_by_row(run: PolicySet, weights: np.ndarray) -> str:
    """What serves weights next to these: a policy that was made for exactly these is served as it is, and takes no others."""
    aside = np.arange(1.0, len(weights) + 1)
    return choose(run, 0.99 * weights + 0.01 * aside / aside.sum()).method


def _takes_rows(policy: Any) -> bool:
    from pareto.models.text_policy import TransformersPolicy

    return not isinstance(policy, TransformersPolicy)
