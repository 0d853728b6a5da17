"""Random states of python, numpy and torch as tensors and JSON, so that a resumed run draws what it would have drawn."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from pareto.errors import ArtifactError

if TYPE_CHECKING:
    import torch
    from torch import Tensor

_PREFIX = "random/"


def capture_random_state(
    generators: Mapping[str, np.random.Generator | torch.Generator] | None = None,
) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Copy the state of every global generator, and of the named ones.

    Args:
        generators: name -> generator of the caller's own.

    Returns:
        (tensors, facts): the torch states as uint8 tensors whose names start with "random/", and the rest as JSON values.
    """
    import torch

    tensors = {f"{_PREFIX}torch": torch.get_rng_state()}
    if torch.cuda.is_available():
        for i, state in enumerate(torch.cuda.get_rng_state_all()):
            tensors[f"{_PREFIX}cuda/{i}"] = state
    version, words, gauss = random.getstate()
    name, keys, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002 - libraries draw from it
    facts: dict[str, Any] = {
        "python": [version, list(words), gauss],
        "numpy": [name, [int(k) for k in keys], int(position), int(has_gauss), float(cached)],
        "generators": {},
    }
    for label, generator in (generators or {}).items():
        if isinstance(generator, np.random.Generator):
            facts["generators"][label] = _plain(generator.bit_generator.state)
        else:
            tensors[f"{_PREFIX}generator/{label}"] = generator.get_state()
    return tensors, facts


def restore_random_state(
    tensors: Mapping[str, Tensor],
    facts: Mapping[str, Any],
    generators: Mapping[str, np.random.Generator | torch.Generator] | None = None,
) -> None:
    """Put back what `capture_random_state` copied.

    Args:
        tensors: its tensors; others beside them are ignored.
        facts: its facts.
        generators: the same names as captured.

    Raises:
        ArtifactError: a generator was not captured under that name.
    """
    import torch

    torch.set_rng_state(tensors[f"{_PREFIX}torch"])
    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            if f"{_PREFIX}cuda/{i}" in tensors:
                torch.cuda.set_rng_state(tensors[f"{_PREFIX}cuda/{i}"], i)
    version, words, gauss = facts["python"]
    random.setstate((version, tuple(words), gauss))
    name, keys, position, has_gauss, cached = facts["numpy"]
    np.random.set_state((name, np.array(keys, dtype=np.uint32), position, has_gauss, cached))  # noqa: NPY002
    for label, generator in (generators or {}).items():
        if isinstance(generator, np.random.Generator) and label in facts["generators"]:
            generator.bit_generator.state = facts["generators"][label]
        elif not isinstance(generator, np.random.Generator) and f"{_PREFIX}generator/{label}" in tensors:
            generator.set_state(tensors[f"{_PREFIX}generator/{label}"])
        else:
            raise ArtifactError(
                f"the checkpoint holds no state for the generator {label!r}; it is of another version"
            )


def _plain(state: Any) -> Any:
    """A bit generator's state with arrays as lists; numpy takes it back like that."""
    if isinstance(state, Mapping):
        return {key: _plain(value) for key, value in state.items()}
    if isinstance(state, np.ndarray):
        return [int(x) for x in state]
    return int(state) if isinstance(state, np.integer) else state
