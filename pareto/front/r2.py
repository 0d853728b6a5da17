"""R2: what users with Chebyshev utilities lack to their ideal."""

from __future__ import annotations

import moocore
import numpy as np

from pareto.front.dominance import distinct_front
from pareto.front.indicator import Yardstick, indicator
from pareto.front.quadrature import Estimate, simplex_mean
from pareto.front.utilities import worst_gain


@indicator(
    source="Hansen and Jaszkiewicz (1998); unary form of Brockhoff, Wagner and Trautmann (2012)",
    better="lower",
    empty=float("inf"),
    needs=("reference_front",),
)
def r2(points: np.ndarray, yardstick: Yardstick) -> float | Estimate:
    """Mean over users of the utility of the reference front's ideal point less that of the user's best point.

    `r2(values, reference_front=..., utilities=None, directions=None) -> float`. Without `utilities`: users
    u_w(v) = min_j w_j (v_j - ideal_j), weights uniform on the simplex: R2 = E_w min_a max_j w_j (ideal_j - a_j), exact for
    m <= 2 (as long as no point passes the ideal), quasi-Monte-Carlo otherwise (16 x 4096 weights; `indicators` names the error). For the
    classic R2 with an ideal of your own, hand over that one point as the reference front.
    """
    assert yardstick.reference_front is not None
    ideal = yardstick.reference_front.max(axis=0)
    if yardstick.utilities is not None:
        best = yardstick.utilities(points).max(axis=1)
        return float((yardstick.utilities(ideal[None])[:, 0] - best).mean())
    front = distinct_front(points)
    m = front.shape[1]
    if m == 1:
        return float(ideal[0] - front.max())
    if m == 2 and (front <= ideal).all():
        return moocore.r2_exact(-front, ref=-ideal)
    return simplex_mean(lambda w: -worst_gain(w, front - ideal).max(axis=1), m)
