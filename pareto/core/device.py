"""Which device to compute on, and in which arithmetic: asked of the machine, never hard-coded."""

from __future__ import annotations

from pareto.errors import ConfigError


def resolve_device(name: str) -> str:
    """Turn "auto" into the device accelerate would use here; check any other name.

    Raises:
        ConfigError: not a torch device, or a CUDA device where there is none.
    """
    import torch

    if name == "auto":
        from accelerate import PartialState

        return str(PartialState().device)
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ConfigError(
            f"device must be 'auto' or a torch device such as 'cpu' or 'cuda:0'; got {name!r}"
        ) from error
    if device.type == "cuda" and not torch.cuda.is_available():
        raise ConfigError(
            f"device {name!r} was asked for, but torch {torch.__version__} sees no CUDA device; use 'auto' or 'cpu'"
        )
    return name


def resolve_dtype(name: str, device: str) -> str:
    """Turn "auto" into bfloat16 where the device computes in it natively, else float32; other names pass.

    A CPU takes float32: it emulates bfloat16 or gains nothing, and "same seed, same bytes" is stated for it.
    """
    import torch

    if name != "auto":
        return name
    native = torch.device(device).type == "cuda" and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bfloat16" if native else "float32"
