"""Inverted generational distance that counts only what is missing."""

from __future__ import annotations

import moocore
import numpy as np

from pareto.front.indicator import Yardstick, indicator


@indicator(
    source="Ishibuchi, Masuda, Tanigaki and Nojima (2015)",
    better="lower",
    empty=float("inf"),
    needs=("reference_front",),
)
def igd_plus(points: np.ndarray, yardstick: Yardstick) -> float:
    """Mean distance from each point of the reference front to the nearest point, counting only objectives that fall short.

    `igd_plus(values, reference_front=..., directions=None) -> float`; d+(a, r) = |max(r - a, 0)|. Weakly
    Pareto-compliant.
    """
    assert yardstick.reference_front is not None
    return moocore.igd_plus(-points, ref=-yardstick.reference_front)
