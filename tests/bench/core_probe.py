"""What one program's training steps take and give, measured within its own process."""

import time
from pathlib import Path

import core_rigs as rigs
import numpy as np


def matmul_counter():
    """Counts operations of matrix products, the in-place ones that torch's own table leaves out included."""
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    def addmm_(_, a, b, *__, out_shape=None, **___):
        return 2 * a[0] * a[1] * b[1]

    return FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: addmm_})


class Probe:
    """Time, memory, products, losses and the first gradient of one program's steps."""

    def __init__(self, model, device, gradient_file, passes=1):
        self.model, self.device, self.gradient_file = model, device, gradient_file
        self.passes, self.calls = passes, 0
        self.wall, self.cpu, self.losses, self.products = [], [], [], 0
        self.start_mb = self.peak_mb = 0.0

    def begin(self):
        """Start of training: what is in memory now is the start that the peak is measured over."""
        import torch

        if self.device == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
            self.start_mb = torch.cuda.memory_allocated() / 2**20
        else:
            _give_back_freed_memory()
            Path("/proc/self/clear_refs").write_text("5")
            self.start_mb = _status_mb("VmRSS")
        self.tick()

    def tick(self):
        if self.device == "cuda":
            import torch

            torch.cuda.synchronize()
        self.wall.append(time.perf_counter())
        self.cpu.append(time.process_time())

    def first(self, step):
        """Wrap forward and backward: the passes of the first step are counted and the gradient after them kept."""

        def wrapped(*args, **kwargs):
            self.calls += 1
            if self.calls > self.passes:
                return step(*args, **kwargs)
            with matmul_counter() as counter:
                result = step(*args, **kwargs)
            self.products += counter.get_total_flops()
            if self.gradient_file is not None and self.calls == self.passes:
                np.save(self.gradient_file, rigs.flat_gradient(self.model).float().cpu().numpy())
            return result

        return wrapped

    def result(self, tokens_per_step):
        import torch

        wall, cpu = np.diff(self.wall)[rigs.WARM :], np.diff(self.cpu)[rigs.WARM :]
        if self.device == "cuda":
            self.peak_mb = torch.cuda.max_memory_allocated() / 2**20
        else:
            self.peak_mb = _status_mb("VmHWM")
        return {
            "gflop_per_step": self.products / 1e9,
            "peak_mb": self.peak_mb,
            "over_start_mb": self.peak_mb - self.start_mb,
            "wall_s_per_step": float(np.median(wall)),
            "cpu_s_per_step": float(np.median(cpu)),
            "steps_timed": len(wall),
            "tokens_per_step": tokens_per_step,
            "losses": self.losses,
        }


def _status_mb(key):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(key):
            return int(line.split()[1]) / 1024
    raise KeyError(key)


def _give_back_freed_memory():
    import ctypes

    ctypes.CDLL("libc.so.6").malloc_trim(0)
