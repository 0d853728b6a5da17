"""An episode as a moving picture."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from pareto.errors import UsageError
from pareto.state import atomic
from pareto.tasks.env.vectors import VectorEnvs

FORMATS = (".gif", ".png", ".webp")
"""What an animation may be stored as; .png is animated too."""


def frames_of(
    envs: VectorEnvs, act: Callable[[np.ndarray], np.ndarray], seed: int, most: int = 2000
) -> list[np.ndarray]:
    """The pictures of one episode, from its first observation to the last before its end.

    Args:
        envs: one copy, opened with render=True.
        act: encoded observations [1, ...] -> actions [1, ...].
        seed: of the episode.
        most: frames after which the rest is left out.

    Returns:
        [height, width, 3] uint8 each.
    """
    seen = envs.reset([seed])
    frames = [envs.picture()]
    while len(frames) < most:
        step = envs.step(act(seen))
        if step.terminated[0] or step.truncated[0]:
            break
        seen = step.observations
        frames.append(envs.picture())
    return frames


def check_format(path: Path) -> Path:
    """The path, once its ending names a format that is known.

    Raises:
        UsageError: it does not.
    """
    if path.suffix.lower() not in FORMATS:
        raise UsageError(f"a video ends in one of {', '.join(FORMATS)}; got {path.name!r}")
    return path


def save_film(frames: Sequence[np.ndarray], path: Path, fps: float = 20.0) -> None:
    """Write frames as an animation that plays for ever.

    Args:
        frames: [height, width, 3] uint8 each; at least one.
        path: its ending names the format.
        fps: frames a second.

    Raises:
        UsageError: an ending that names no animation.
    """
    import io

    from PIL import Image

    kind = check_format(path).suffix.lower().lstrip(".")
    images = [Image.fromarray(np.ascontiguousarray(frame)) for frame in frames]
    buffer = io.BytesIO()
    images[0].save(
        buffer,
        format=kind,
        save_all=True,
        append_images=images[1:],
        duration=1000.0 / fps,
        loop=0,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_bytes(path, buffer.getvalue())
