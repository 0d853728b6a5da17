"""The state of a training run in its checkpoints, and back: bit for bit, by whole tensors, whatever the processes.

The first process writes and reads; the others send it what only they have (their random states) and are told the rest. So a
run that was sharded can go on unsharded, with another number of processes, or where only the first one sees the folder.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from pareto.core.optimizer import MODULE
from pareto.core.parallel import Processes, full, placed_like
from pareto.errors import ArtifactError
from pareto.state.checkpoint import Checkpoints
from pareto.state.random_state import capture_random_state, restore_random_state

_PARAMETER, _OPTIMIZER, _LEARNED, _SUMS, _PROCESS = "parameter/", "optimizer/", "module/", "sums/", "process/"


@dataclass(frozen=True)
class RunState:
    """Everything that changes while a model is trained, but for its figures.

    Args:
        parameters: name -> trained parameter (`pareto.core.optimizer.trainable`).
        learned: learned part of the loss, stored whole: parameters, buffers, trained or not.
        optimizer: over exactly these parameters.
    """

    parameters: Mapping[str, nn.Parameter]
    learned: nn.Module | None
    optimizer: torch.optim.Optimizer

    def tensors(self) -> dict[str, Tensor]:
        """Name -> whole tensor; all processes must ask for it together.

        Raises:
            ArtifactError: the learned part keeps something else than tensors.
        """
        found = {}
        for name, parameter in self.parameters.items():
            if not name.startswith(MODULE):
                found[_PARAMETER + name] = full(parameter.detach())
            for key, value in self.optimizer.state[parameter].items():
                found[f"{_OPTIMIZER}{key}/{name}"] = full(value)
        for name, value in (self.learned.state_dict() if self.learned is not None else {}).items():
            if not isinstance(value, Tensor):
                raise ArtifactError(
                    f"the state of a learned loss must be tensors (register_buffer); {name!r} of "
                    f"{type(self.learned).__name__} is a {type(value).__name__}"
                )
            found[_LEARNED + name] = value
        return found

    @torch.no_grad()
    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """Put back what `tensors` gave; all processes must do it together, with the same tensors.

        Raises:
            ArtifactError: a parameter is not in the checkpoint, or the learned part is another one.
        """
        moments: dict[str, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith(_OPTIMIZER):
                kind, _, name = key.removeprefix(_OPTIMIZER).partition("/")
                moments.setdefault(name, {})[kind] = value
        for name, parameter in self.parameters.items():
            if not name.startswith(MODULE):
                if _PARAMETER + name not in tensors:
                    raise ArtifactError(
                        f"the checkpoint holds no parameter {name!r}; it is of another model or another choice of what to "
                        "train: start in an empty folder"
                    )
                parameter.copy_(placed_like(tensors[_PARAMETER + name], parameter))
            self.optimizer.state[parameter] = {
                kind: self._placed(value, parameter) for kind, value in moments.get(name, {}).items()
            }
        if self.learned is not None:
            own = {k.removeprefix(_LEARNED): v for k, v in tensors.items() if k.startswith(_LEARNED)}
            try:
                self.learned.load_state_dict(own)
            except RuntimeError as error:
                raise ArtifactError(
                    f"the checkpoint is of another loss: {' '.join(str(error).split())}; start in an empty folder"
                ) from error

    def _placed(self, value: Tensor, parameter: Tensor) -> Tensor:
        if value.ndim:
            return placed_like(value, parameter)
        # a fused optimiser counts steps on the device
        return value.to(parameter.device) if self.optimizer.defaults["fused"] else value


def save_run(
    checkpoints: Checkpoints,
    step: int,
    state: RunState,
    facts: Mapping[str, int],
    sums: Mapping[str, Tensor],
    processes: Processes,
) -> None:
    """Write a checkpoint; all processes call it, the first one writes.

    Args:
        checkpoints: where to.
        step: finished steps.
        state: what is trained.
        facts: counts worth keeping, of all processes.
        sums: figures since the last logged step, of all processes.
        processes: who takes part.
    """
    tensors = state.tensors() | {_SUMS + name: value for name, value in sums.items()}
    random_tensors, random_facts = capture_random_state()
    others = processes.gather_bytes(_pack(random_tensors, random_facts))
    if processes.first:
        for rank, data in enumerate(others[1:], start=1):
            tensors[f"{_PROCESS}{rank}"] = torch.frombuffer(bytearray(data), dtype=torch.uint8)
        checkpoints.save(step, {**tensors, **random_tensors}, {**facts, "random": random_facts})


def resume_run(
    checkpoints: Checkpoints | None, state: RunState, processes: Processes
) -> tuple[int, dict[str, int], dict[str, Tensor]]:
    """Put back the newest checkpoint; all processes call it, the first one reads.

    Returns:
        (finished steps, facts, sums) as saved; 0 and nothing where there is no checkpoint. Sums are given to the first
        process only, so that they are counted once.
    """
    found = checkpoints.latest() if checkpoints is not None and processes.first else None
    step, tensors, facts = _to_all(found, processes)
    if step == 0:
        return 0, {}, {}
    state.load(tensors)
    random_facts = facts.pop("random")
    if processes.first:
        restore_random_state(tensors, random_facts)
        device = next(iter(state.parameters.values())).device
        sums = {k.removeprefix(_SUMS): v.to(device) for k, v in tensors.items() if k.startswith(_SUMS)}
        return step, facts, sums
    mine = tensors.get(f"{_PROCESS}{processes.rank}")
    if mine is not None:
        restore_random_state(*_unpack(mine.numpy().tobytes()))
    return step, facts, {}


def _to_all(
    found: tuple[int, dict[str, Tensor], dict[str, Any]] | None, processes: Processes
) -> tuple[int, dict[str, Tensor], dict[str, Any]]:
    """What the first process found, in every process."""
    step, tensors, facts = found or (0, {}, {})
    if processes.count == 1:
        return step, tensors, facts
    listed = [[n, list(t.shape), str(t.dtype).removeprefix("torch.")] for n, t in tensors.items()]
    head = processes.gather_bytes(json.dumps([step, facts, listed]).encode() if processes.first else b"")[0]
    step, facts, listed = json.loads(head)
    own = {
        n: tensors[n] if processes.first else torch.empty(s, dtype=getattr(torch, d)) for n, s, d in listed
    }
    processes.copy_first(list(own.values()))
    return step, own, facts


def _pack(tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> bytes:
    from safetensors.torch import save

    text = torch.frombuffer(bytearray(json.dumps(facts).encode()), dtype=torch.uint8)
    return save({**tensors, "facts": text})


def _unpack(data: bytes) -> tuple[dict[str, Tensor], dict[str, Any]]:
    from safetensors.torch import load

    tensors = load(data)
    return tensors, json.loads(tensors.pop("facts").numpy().tobytes())
