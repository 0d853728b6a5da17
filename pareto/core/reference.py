"""Reference log-probabilities, computed once and kept under the content they depend on.

The key is made of the reference's weights, the token ids (truncation included) and the dtype of the arithmetic. Changing
beta, loss, learning rate or weights never recomputes; changing data or model always does.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path

import numpy as np

from pareto.cells import digest
from pareto.data.pairs import ResponseTable
from pareto.state import atomic


def model_sha256(folder: Path) -> str:
    """Digest of a saved model: its weight files' bytes and its config."""
    h = hashlib.sha256()
    for path in sorted(
        [*folder.glob("*.safetensors"), folder / "config.json", folder / "adapter_config.json"]
    ):
        if path.exists():
            h.update(path.name.encode())
            with path.open("rb") as file:
                while block := file.read(1 << 20):
                    h.update(block)
    return h.hexdigest()


def logps_key(model: str, table: ResponseTable, dtype: str) -> str:
    """Content key of the token log-probabilities of a table under a model.

    Args:
        model: digest of the weights (`model_sha256`).
        table: prompts and responses.
        dtype: "float32" or "bfloat16".
    """
    return digest({"model": model, "table": table.sha256(), "dtype": dtype})


def cached_logps(folder: Path, key: str, compute: Callable[[], np.ndarray]) -> np.ndarray:
    """Token log-probabilities under a key: read from the folder, or computed and written there atomically.

    Args:
        folder: where caches of one reference lie.
        key: from `logps_key`.
        compute: makes the [total response tokens] float32 array.
    """
    path = folder / f"logps-{key[:20]}.npy"
    if path.exists():
        return np.load(path, allow_pickle=False, mmap_mode="r")
    logps = compute().astype(np.float32)
    buffer = io.BytesIO()
    np.save(buffer, logps, allow_pickle=False)
    atomic.write_bytes(path, buffer.getvalue())
    return logps
