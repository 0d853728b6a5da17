"""Several processes that train one model: who takes which examples, and how gradients and figures become one.

Every process knows the whole order of the data and takes its share of every batch, so that a run is the same whatever the
number of processes. Losses are sums over examples divided by the size of the whole batch; so gradients and figures of the
processes just add up. They are added once per optimiser step, after the last micro-batch and outside automatic
differentiation: heads are differentiated chunk by chunk, and hooks that communicate per backward pass would do so per chunk.

With "fsdp2" the layers are sharded by `torch.distributed.fsdp.fully_shard`. Embeddings and head stay whole in every process
(the head is called once per chunk, as often as a process has chunks, which is no place to wait for others).
"""

from __future__ import annotations

import copy
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.tensor import DTensor, distribute_tensor

from pareto.errors import ConfigError

Parallel = Literal["auto", "none", "ddp", "fsdp2"]

BUCKET_BYTES = 32 * 2**20
"""Tensors are added up in messages of about this size."""


@dataclass(frozen=True)
class Processes:
    """The processes of one training run, seen from one of them; the default is a run of one process.

    Args:
        rank: this process, from 0; the first one writes.
        count: how many there are.
        sharded: whether each holds a part of every layer.
        device: where tensors must lie to be sent.
    """

    rank: int = 0
    count: int = 1
    sharded: bool = False
    device: torch.device = torch.device("cpu")  # noqa: RUF009 - devices are immutable

    @property
    def first(self) -> bool:
        """Whether this process writes logs and checkpoints."""
        return self.rank == 0

    def share(self, batch: np.ndarray, accumulation: int) -> list[np.ndarray]:
        """This process's micro-batches of a batch; every process has equally many.

        Args:
            batch: [B] int64 example indices, the same in every process, similar ones beside each other.
            accumulation: micro-batches wanted.

        Raises:
            ConfigError: fewer examples than processes.
        """
        if len(batch) < self.count:
            raise ConfigError(
                f"a batch must hold an example for each of {self.count} processes; got {len(batch)}; raise batch_size or "
                "start fewer processes"
            )
        return np.array_split(
            batch[self.rank :: self.count], min(accumulation, max(1, len(batch) // self.count))
        )

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by their sums over the processes, in place."""
        self._in_buckets(tensors, dist.all_reduce)

    def copy_first(self, tensors: Sequence[Tensor]) -> None:
        """Replace tensors by those of the first process, in place."""
        self._in_buckets(tensors, lambda flat: dist.broadcast(flat, 0))

    def add_gradients(self, parameters: Iterable[nn.Parameter]) -> None:
        """Make every gradient the sum over the processes; a parameter that was not used has gradient zero."""
        if self.count == 1:
            return
        own = list(parameters)
        for p in own:
            if p.grad is None:
                p.grad = torch.zeros_like(p)
        self.add([p.grad for p in own if p.grad is not None and not isinstance(p, DTensor)])
        for p in own:
            if isinstance(p, DTensor) and p.grad is not None:
                p.grad.mul_(self.count)  # the sharded layers have averaged

    def merge_buffers(self, before: Mapping[str, Tensor], now: Mapping[str, Tensor]) -> None:
        """Make the buffers of a learned loss the same in all processes, in place.

        An entry that one process changed takes its new value; one that several changed takes the mean of theirs. So a state
        by example is what one process would have, and a running mean is that of the mean of all processes.

        Args:
            before: copies of the buffers before the step, equal in all processes.
            now: the buffers.
        """
        if self.count == 1:
            return
        for name, buffer in now.items():
            known = ~(buffer.isnan() & before[name].isnan())
            changed = (buffer != before[name]) & known
            total = torch.where(changed, buffer, torch.zeros_like(buffer)).double()
            writers = changed.double()
            self.add([total, writers])
            merged = (total / writers.clamp(min=1)).to(buffer.dtype)
            buffer.copy_(torch.where(writers > 0, merged, before[name]))

    def gather_bytes(self, data: bytes) -> list[bytes]:
        """The bytes of every process, by rank."""
        if self.count == 1:
            return [data]
        size = torch.zeros(self.count, dtype=torch.int64, device=self.device)
        size[self.rank] = len(data)
        dist.all_reduce(size)
        mine = torch.zeros(int(size.max()), dtype=torch.uint8, device=self.device)
        mine[: len(data)] = torch.from_numpy(np.frombuffer(data, np.uint8).copy()).to(self.device)
        parts = [torch.empty_like(mine) for _ in range(self.count)]
        dist.all_gather(parts, mine)
        return [p[:n].cpu().numpy().tobytes() for p, n in zip(parts, size.tolist())]

    def _in_buckets(self, tensors: Sequence[Tensor], send: Callable[[Tensor], Any]) -> None:
        if self.count == 1:
            return
        for bucket in _buckets(tensors):
            flat = torch.cat([t.detach().reshape(-1) for t in bucket]).to(self.device)
            send(flat)
            with torch.no_grad():
                for tensor, part in zip(bucket, flat.split([t.numel() for t in bucket])):
                    tensor.copy_(part.view_as(tensor))


def join(parallel: Parallel, device: torch.device) -> Processes:
    """Find out how this process was started, and meet the others.

    Args:
        parallel: what the config says; "auto" follows the launcher: FSDP where `accelerate launch` was told so, else DDP
            where there are several processes, else none.
        device: where the model lies.

    Raises:
        ConfigError: several processes are wanted and this is the only one.
    """
    started = dist.is_available() and dist.is_initialized()
    count = dist.get_world_size() if started else int(os.environ.get("WORLD_SIZE", "1"))
    if parallel == "none" or (parallel == "auto" and count == 1):
        return Processes()
    if count == 1:
        raise ConfigError(
            f"training.parallel is {parallel!r}, and there is one process only; start the program with `accelerate launch` "
            "or `torchrun`, or write parallel: auto"
        )
    if not started:
        from accelerate import PartialState

        PartialState(cpu=device.type == "cpu")
    sharded = parallel == "fsdp2" or (
        parallel == "auto" and os.environ.get("ACCELERATE_USE_FSDP", "").lower() in ("1", "true", "yes")
    )
    return Processes(dist.get_rank(), dist.get_world_size(), sharded, device)


def sharded_copy(model: Any, device: torch.device) -> Any:
    """A copy of a causal model whose layers are sharded over all processes; embeddings and head stay whole.

    The model itself moves to the CPU, so that no more than one whole layer is on the device at a time.

    Args:
        model: a Hugging Face causal model or a PEFT model around one, equal in all processes.
        device: where the shards go.
    """
    from torch.distributed.device_mesh import init_device_mesh
    from torch.distributed.fsdp import fully_shard

    copied = copy.deepcopy(model.cpu())
    base = copied.get_base_model() if hasattr(copied, "get_base_model") else copied
    edges = [m for m in (base.get_input_embeddings(), base.get_output_embeddings()) if m is not None]
    for module in edges:
        module.to(device)
    mesh = init_device_mesh(device.type, (dist.get_world_size(),))
    body, kinds = base.base_model, set(getattr(base, "_no_split_modules", None) or ())
    for module in list(body.modules()):
        if type(module).__name__ in kinds and module is not body:
            fully_shard(module, mesh=mesh, reshard_after_forward=True)
    whole = {p for module in edges for p in module.parameters()}
    # Everything is given back after each pass: parameters are then always the shards that an optimiser holds.
    fully_shard(body, mesh=mesh, reshard_after_forward=True, ignored_params=whole)
    return copied


@torch.no_grad()
def take_over(model: Any, trained: Any, device: torch.device) -> None:
    """Give a model the trained weights of its sharded copy, and move it back to its device; all processes together."""
    found = dict(trained.named_parameters())
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            parameter.copy_(full(found[name].detach()))
    model.to(device)


def full(tensor: Tensor) -> Tensor:
    """The whole of a tensor that may be sharded; all processes must ask for it together."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def placed_like(whole: Tensor, like: Tensor) -> Tensor:
    """A whole tensor on the device of another, and sharded as that one is."""
    moved = whole.to(like.device)
    return distribute_tensor(moved, like.device_mesh, like.placements) if isinstance(like, DTensor) else moved


def _buckets(tensors: Sequence[Tensor]) -> list[list[Tensor]]:
    """Tensors of one dtype together, in order, about `BUCKET_BYTES` each; a larger tensor stands alone."""
    kinds: dict[torch.dtype, list[Tensor]] = {}
    for tensor in tensors:
        kinds.setdefault(tensor.dtype, []).append(tensor)
    buckets = []
    for own in kinds.values():
        bucket, size = [], 0
        for tensor in own:
            n = tensor.numel() * tensor.element_size()
            if bucket and size + n > BUCKET_BYTES:
                buckets.append(bucket)
                bucket, size = [], 0
            bucket.append(tensor)
            size += n
        buckets.append(bucket)
    return buckets
