"""A store's seal: the digest of all it holds, taken down when a sweep ends and broken open when the next one begins.

Results and cells carry digests of their own; the seal covers the rest (reference point, rounds, costs, order), as long as
nobody sweeps.
"""

from __future__ import annotations

from pareto.errors import ArtifactError
from pareto.study.store import Store

SEAL = "seal"
"""The fact that holds it, and the only one it does not cover."""


def seal(store: Store) -> None:
    """Take down what the store holds."""
    store.set(SEAL, store.sha256(without=SEAL))


def is_broken(store: Store) -> bool:
    """Whether a sealed store holds something else by now, or its pages contradict each other."""
    stated = store.get(SEAL)
    return not store.is_sound() or (stated is not None and stated != store.sha256(without=SEAL))


def check_seal(store: Store) -> None:
    """Refuse a store that was changed since its sweep ended.

    Raises:
        ArtifactError: the seal is broken.
    """
    if is_broken(store):
        raise ArtifactError(
            f"{store.path} does not hold what it held when its sweep ended: changed or damaged; restore it from a copy, or "
            "sweep into a new folder"
        )


def unseal(store: Store) -> None:
    """Open a store for another sweep, which nothing speaks against."""
    if store.get(SEAL) is not None:
        store.set(SEAL, None)
