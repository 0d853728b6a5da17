"""A whole MODPO front in one job: every weight vector's adapter beside the others on one frozen base.

Reference log-probabilities and margins are computed once, every step draws one batch for all policies, and the base sees it
in one pass. First the corners, which are margins or wanted themselves, then what lies between them. A policy learns what it
learns in a job of its own: its gradient, its clipping and its optimiser's state are apart from the others'.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from safetensors.torch import load, save
from torch import Tensor

from pareto import rng
from pareto.align.preference_job import Reference, device_tensor, pair_metrics, store_implicit_rewards
from pareto.cells import Cell, PolicyFiles
from pareto.core.layout import tiled
from pareto.core.logps import response_logps, sums
from pareto.core.loop import Hooks, TrainConfig, train
from pareto.core.losses.base import PairLogps
from pareto.core.losses.mass_anchor import mass_anchor
from pareto.core.losses.modpo import modpo
from pareto.core.objective import Objective, ScoredExamples
from pareto.core.packing import PackedRows
from pareto.data.pairs import PreferencePairs
from pareto.errors import NumericsError
from pareto.models.adapter_bank import AdapterBank
from pareto.models.adapters import LoRA
from pareto.objectives import Objectives
from pareto.state import atomic
from pareto.state.checkpoint import Checkpoints


@dataclass(frozen=True)
class Member:
    """One policy of the front.

    Args:
        weights: [m].
        beta: > 0.
        margin: [n_responses] sum over the other objectives of w_j r_j, NaN where one is unknown; None for no margin.
    """

    weights: np.ndarray
    beta: float
    margin: np.ndarray | None = None

    @property
    def trained(self) -> int:
        """The objective whose pairs are fitted."""
        return int(self.weights.argmax())


class FrontLoss:
    """MODPO's loss of all members on one batch: example k * n + i is pair i under member k.

    A pair without a winner under a member's objective, or with an unknown margin, says nothing to that member; the others of
    the batch count so much more that its loss is a mean over the pairs that do, on average over batches.

    Args:
        members: K of them.
        pairs: all of them.
        ref_logps: [n_responses] float64, nats.
        mass_anchor: >= 0.
        device: where the policies are.

    Raises:
        NumericsError: no pair says anything to some member.
    """

    def __init__(
        self,
        members: Sequence[Member],
        pairs: PreferencePairs,
        ref_logps: np.ndarray,
        mass_anchor: float,
        device: str,
    ) -> None:
        self.members, self.anchor = members, mass_anchor
        sign = np.stack([np.nan_to_num(pairs.labels[:, member.trained]) for member in members])
        margin = np.zeros(sign.shape)
        for k, member in enumerate(members):
            if member.margin is not None:
                margin[k] = sign[k] * (member.margin[pairs.a] - member.margin[pairs.b])
        sign = np.where(np.isfinite(margin), sign, 0.0)
        kept = np.flatnonzero((sign != 0).any(axis=0))
        share = (sign[:, kept] != 0).mean(axis=1)
        if not (share > 0).all():
            name = pairs.objectives.names[members[int(share.argmin())].trained]
            raise NumericsError(f"no pair has a winner under {name!r} and a finite margin on both responses")
        self.examples = np.column_stack([pairs.a, pairs.b])[kept]
        self.n = len(kept)
        self._sign = device_tensor(sign[:, kept], device)
        self._margin = device_tensor(np.nan_to_num(margin[:, kept]), device)
        self._share = share.tolist()
        self._ref = device_tensor(ref_logps[self.examples], device)

    @property
    def certain(self) -> bool:
        """Whether every pair says something to every member, and none has a margin: the first loss is then ln 2."""
        return bool((self._sign != 0).all()) and all(member.margin is None for member in self.members)

    def __call__(self, scored: ScoredExamples) -> tuple[Tensor, Mapping[str, Tensor]]:
        """[K * B] losses; metrics are means over the members."""
        owner, pair = scored.index // self.n, scored.index % self.n
        ref = self._ref[pair]
        sign, margin = self._sign[owner, pair], self._margin[owner, pair]
        flipped = (sign < 0)[:, None]
        logps, ref = (torch.where(flipped, x.flip(1), x) for x in (scored.logps, ref))
        lengths = torch.where(flipped, scored.lengths.flip(1), scored.lengths)
        losses, metrics = logps.new_zeros(len(pair)), {}
        for k, member in enumerate(self.members):
            mine = torch.nonzero(owner == k).flatten()
            batch = PairLogps(
                logps[mine, 0],
                logps[mine, 1],
                ref[mine, 0],
                ref[mine, 1],
                lengths[mine, 0],
                lengths[mine, 1],
                margin=margin[mine],
                example_id=pair[mine],
            )
            weight = float(member.weights[member.trained])
            values = modpo(batch, beta=member.beta, objective_weight=weight)
            if self.anchor:
                values = values + self.anchor * mass_anchor(batch)
            losses = losses.index_add(0, mine, values * (sign[mine] != 0) / self._share[k])
            for name, figure in pair_metrics(batch, member.beta).items():
                metrics[name] = metrics.get(name, 0.0) + figure.sum() / len(self.members)
        return losses, {name: value[None] for name, value in metrics.items()}


def train_members(
    reference: Reference,
    members: Sequence[Member],
    adapter: LoRA,
    config: TrainConfig,
    *,
    mass_anchor: float,
    seed: int,
    base: Any,
    phase: str,
    before: int = 0,
) -> tuple[AdapterBank, int]:
    """Train all members side by side.

    Args:
        reference: pairs and log-probabilities.
        members: K of them.
        adapter: what each trains.
        config: optimisation, the same for all.
        mass_anchor: >= 0.
        seed: data order and first values.
        base: the reference model; it gets the bank.
        phase: name of this part of the job; what is finished of it survives a kill.
        before: tokens that earlier parts trained.

    Returns:
        the bank, and tokens trained, earlier parts included.
    """
    context = reference.context
    loss = FrontLoss(members, reference.pairs, reference.logps, mass_anchor, context.device)
    bank = AdapterBank(base, adapter, len(members), seed=rng.derive_seed("adapter", seed) % 2**31)
    done = context.scratch / f"{phase}.safetensors"
    if done.exists():
        tensors = load(done.read_bytes())
        tokens = int(tensors.pop("tokens"))
        bank.load_state_dict(tensors)
        return bank, tokens

    def layout(rows: PackedRows, index: Tensor) -> tuple[PackedRows, Tensor]:
        blocks = tiled(rows, len(members))
        bank.expect(len(blocks.input_ids))
        first = torch.arange(len(members), device=index.device).repeat_interleave(len(index)) * loss.n
        return blocks, first + index.repeat(len(members))

    def progress(step: int, total: int, figures: Mapping[str, float]) -> None:
        context.progress(step, total, {**figures, "tokens": before + figures.get("tokens", 0)})

    result = train(
        bank.base,
        reference.pairs.table,
        loss.examples,
        Objective(loss, layout=layout),
        config,
        seed=seed,
        dtype=context.dtype,
        first_loss=len(members) * (np.log(2.0) - mass_anchor) if loss.certain else None,
        hooks=Hooks(progress, context.log, checkpoints=Checkpoints(context.scratch / phase)),
        clipped=bank.clip,
    )
    tokens = before + result.tokens
    state = {name: tensor.contiguous() for name, tensor in bank.state_dict().items()}
    atomic.write_bytes(done, save({**state, "tokens": torch.tensor(tokens)}))
    return bank, tokens


def implicit_rewards_of(bank: AdapterBank, policy: int, reference: Reference, beta: float) -> np.ndarray:
    """[n_responses] float64 beta * log(pi / pi_ref) of one member."""
    table = reference.pairs.table
    with bank.only(policy) as model:
        logps = sums(table, response_logps(model, table, dtype=reference.context.dtype))
    return beta * (logps - reference.logps)


def store_members(
    reference: Reference,
    bank: AdapterBank,
    members: Sequence[tuple[int, Member]],
    cell: Cell,
    rewards: Sequence[np.ndarray],
) -> tuple[PolicyFiles, ...]:
    """Write members as policies of the cell, each in a folder of its own.

    Args:
        reference: of the job.
        bank: as trained; member i of it is the i-th of `members`.
        members: (place on the front, member); a place below 0 is not wanted as a policy.
        cell: whose policies they are.
        rewards: their implicit rewards, [n_responses] each.
    """
    objectives: Objectives = reference.task.objectives
    stored = []
    for i, (place, member) in enumerate(members):
        if place < 0:
            continue
        folder = reference.context.folder / f"{place:03d}"
        folder.mkdir()
        bank.save(i, folder)
        weights = objectives.named(member.weights)
        store_implicit_rewards(folder, rewards[i])
        facts = {"kind": "adapter", "weights": weights, "beta": member.beta}
        atomic.write_json(folder / "policy.json", facts)
        extra = {"beta": member.beta}
        stored.append(PolicyFiles(f"{cell.id}-{place:03d}", "adapter", folder, weights, extra=extra))
    return tuple(stored)
