"""Checkpoints of a training loop: tensors as safetensors, facts as JSON, a manifest last; no pickle."""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pareto.errors import ArtifactError
from pareto.state import atomic, manifest

if TYPE_CHECKING:
    from torch import Tensor

_NAME = re.compile(r"^step-(\d{12})$")


class Checkpoints:
    """The checkpoints of one run, in a folder of their own.

    A checkpoint is complete or it is not there: it is staged beside its place and renamed into it. Older complete ones
    are deleted only after a newer one is durable.

    Args:
        folder: made when missing; nothing else may lie in it.
        keep: >= 1, how many complete checkpoints to keep.
    """

    def __init__(self, folder: Path | str, keep: int = 2) -> None:
        if keep < 1:
            raise ArtifactError(f"at least one checkpoint must be kept; got keep={keep}")
        self.folder = Path(folder)
        self.keep = keep

    def save(self, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """Write the checkpoint of a step, then delete older ones beyond `keep`, and broken ones ahead of it.

        Args:
            step: >= 0, finished steps.
            tensors: name -> tensor on any device.
            facts: JSON-able; floats come back bit for bit.

        Raises:
            MachineError: the disk is full; the last complete checkpoint stands.
        """
        from safetensors.torch import save

        own = {name: tensor.detach().to("cpu", copy=True).contiguous() for name, tensor in tensors.items()}
        with atomic.staged_folder(self.folder / f"step-{step:012d}") as staging:
            atomic.write_bytes(staging / "tensors.safetensors", save(own))
            atomic.write_json(staging / "facts.json", dict(facts))
            manifest.write(staging)
        # broken ones ahead of it were passed over when the run resumed; they must not push whole ones out
        broken = [other for other in self.steps() if other > step and manifest.verify(self._path(other))]
        whole = [other for other in self.steps() if other not in broken]
        for old in [*broken, *whole[: -self.keep]]:
            shutil.rmtree(self._path(old), ignore_errors=True)

    def latest(self) -> tuple[int, dict[str, Tensor], dict[str, Any]] | None:
        """The newest checkpoint that is whole: (step, tensors on CPU, facts), or None when there is none.

        Incomplete and corrupt ones are passed over.
        """
        for step in reversed(self.steps()):
            path = self._path(step)
            if not manifest.verify(path):
                from safetensors.torch import load_file

                facts = json.loads((path / "facts.json").read_text(encoding="utf-8"))
                return step, load_file(path / "tensors.safetensors"), facts
        return None

    def steps(self) -> list[int]:
        """Steps that have a checkpoint under its final name, ascending."""
        if not self.folder.is_dir():
            return []
        names = (_NAME.match(path.name) for path in self.folder.iterdir())
        return sorted(int(name[1]) for name in names if name)

    def _path(self, step: int) -> Path:
        return self.folder / f"step-{step:012d}"
