"""Seeds to generators: every random stream has a name, so that adding one never shifts another."""

from __future__ import annotations

import hashlib

import numpy as np


def derive_seed(*parts: object) -> int:
    """A 63-bit seed from any number of printable parts (study seed, purpose, index), stable across machines."""
    digest = hashlib.sha256("\x1f".join(str(p) for p in parts).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generator(*parts: object) -> np.random.Generator:
    """A numpy generator for the stream named by the parts."""
    return np.random.Generator(np.random.PCG64(derive_seed(*parts)))
