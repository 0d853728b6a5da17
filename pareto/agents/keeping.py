"""What a search keeps: archives through a kill, and at the end the policies with the largest hypervolume together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from pareto.agents.archive import Archive
from pareto.agents.composing import Composition
from pareto.agents.learning import Networked
from pareto.agents.normalise import Running
from pareto.agents.population import Snapshots
from pareto.cells import Cell, Cost, FitContext, Fitted, PolicyFiles
from pareto.front import hypervolume_subset
from pareto.models.actors import agent_facts
from pareto.models.actors.mlp import Deployed


def best_together(archive: Archive, ref_point: np.ndarray | None, most: int) -> Archive:
    """At most so many members, those whose lower bounds have the largest hypervolume together.

    Args:
        archive: at least one policy.
        ref_point: [m], larger is better; None takes a tenth of the range below what has been reached.
        most: >= 1.
    """
    lows = archive.lows
    if ref_point is None:
        ref_point = lows.min(axis=0) - 0.1 * np.maximum(np.ptp(lows, axis=0), 1e-9)
    inside = np.flatnonzero((lows > ref_point).all(axis=1))
    places = inside if len(inside) else np.arange(len(lows))
    if len(places) > most:
        places = places[np.sort(hypervolume_subset(lows[places], ref_point, most))]
    return archive.take(places)


@dataclass(frozen=True)
class Composed:
    """Policies that are composed of an archive's.

    Args:
        composition: of what.
        weights: [W, m] at which.
        means: [W, m] mean returns, as predicted.
    """

    composition: Composition
    weights: np.ndarray
    means: np.ndarray


def keep(
    networked: Networked,
    archive: Archive,
    actions: Deployed,
    cost: Cost,
    cell: Cell,
    context: FitContext,
    composed: Composed | None = None,
) -> Fitted:
    """Store every policy of an archive as one of a cell's policies, without weights: the front assigns them.

    Args:
        networked: the task and the networks.
        archive: its policies.
        actions: how they act.
        cost: what finding them cost.
        cell: whose policies they are.
        context: where to.
        composed: further policies, after those of the archive.
    """
    task, networks, made = networked.task, networked.networks, []
    facts = agent_facts(networks.kind, task.facts.observations, task.facts.actions)
    for i in range(len(archive)):
        assert archive.policies is not None
        offset, scale = archive.policies.observed.affine(i)
        folder = context.folder / f"{i:03d}"
        networks.store(archive.policies.parameters[i], offset, scale, actions, folder, facts)
        told = {"chosen_by": task.objectives.named(task.objectives.orient(archive.means[i]))}
        made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", folder, None, extra=told))
    if composed is None:
        return Fitted(tuple(made), cost)
    facts = agent_facts("composed", task.facts.observations, task.facts.actions)
    for i, (weights, mean) in enumerate(zip(composed.weights, composed.means), start=len(archive)):
        folder = context.folder / f"{i:03d}"
        composed.composition.actor(weights).save(folder, facts)
        told = {
            "chosen_by": task.objectives.named(task.objectives.orient(mean)),
            "composed_at": weights.tolist(),
        }
        made.append(PolicyFiles(f"{cell.id}-{i:03d}", "agent", folder, None, extra=told))
    return Fitted(tuple(made), cost)


def archive_tensors(name: str, archive: Archive) -> dict[str, Tensor]:
    """An archive as tensors whose names begin with `name`; none where it is empty."""
    if archive.policies is None:
        return {}
    policies = archive.policies
    found = {
        f"{name}.means": torch.from_numpy(archive.means.copy()),
        f"{name}.lows": torch.from_numpy(archive.lows.copy()),
        f"{name}.parameters": policies.parameters,
    }
    for part, running in (("observed", policies.observed), ("scales", policies.scales)):
        found |= {f"{name}.{part}.{k}": getattr(running, k) for k in ("count", "mean", "var")}
    return found


def archive_from(name: str, tensors: Mapping[str, Tensor], empty: Archive) -> Archive:
    """What `archive_tensors` gave, in an archive of the capacity of `empty`; `empty` where there was nothing."""
    if f"{name}.means" not in tensors:
        return empty

    def running(part: str) -> Running:
        return Running(*(tensors[f"{name}.{part}.{k}"].clone() for k in ("count", "mean", "var")))

    policies = Snapshots(tensors[f"{name}.parameters"].clone(), running("observed"), running("scales"))
    means, lows = (tensors[f"{name}.{k}"].numpy().copy() for k in ("means", "lows"))
    return Archive(policies, means, lows, empty.capacity)
