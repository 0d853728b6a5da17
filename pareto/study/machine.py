"""What a cell takes of the machine it runs on: threads, device, arithmetic, memory."""

from __future__ import annotations

import os
import resource
import sys
from pathlib import Path

THREAD_VARIABLES = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)


def pin_threads(threads: int) -> None:
    """Fix the number of compute threads of this process: by environment for what is loaded later, directly for torch."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(threads)


def device(name: str) -> str:
    """The device a cell computes on; "auto" on a Linux machine without a graphics card is settled without torch."""
    cards = any(Path("/dev").glob("nvidia[0-9]*")) or Path("/dev/kfd").exists()
    if name == "cpu" or (name == "auto" and sys.platform == "linux" and not cards):
        return "cpu"
    from pareto.core.device import resolve_device

    return resolve_device(name)


def dtype(name: str, device: str) -> str:
    """The arithmetic of a cell; on a CPU it is settled without torch."""
    if name != "auto":
        return name
    if device == "cpu":
        return "float32"
    from pareto.core.device import resolve_dtype

    return resolve_dtype(name, device)


def reset_peaks() -> None:
    """Count device memory from here on."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()


def peaks() -> tuple[float, float | None]:
    """(largest resident size of this process so far, largest device memory of this cell), in MB."""
    unit = 1 if sys.platform == "darwin" else 1024  # macOS counts bytes, Linux kibibytes
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6
    torch = sys.modules.get("torch")
    on_gpu = torch is not None and torch.cuda.is_initialized()
    return rss, torch.cuda.max_memory_allocated() / 1e6 if on_gpu and torch is not None else None
