"""Numbers measured once by `calibrate` and frozen before any training: reward scales and reference points."""

from __future__ import annotations

from typing import Final

import numpy as np

from .config import SYSTEMS, OffloadingConfig

SCALES: Final = (22.6, 0.0706)
"""Delay in s and energy in J that weigh the same at equal preference."""

REF_POINTS: Final = {
    "training-1": {"rule": (9137.0, 3.705), "inner": (6965.0, 3.62)},
    "training-2": {"rule": (13390.0, 4.352), "inner": (4718.0, 4.341)},
    "training-3": {"rule": (18020.0, 4.647), "inner": (3444.0, 4.626)},
    "training-4": {"rule": (23310.0, 5.178), "inner": (3016.0, 5.094)},
    "training-5": {"rule": (28000.0, 5.694), "inner": (3046.0, 5.627)},
    "training-6": {"rule": (30740.0, 6.055), "inner": (2800.0, 5.979)},
    "training-7": {"rule": (34840.0, 6.5), "inner": (3030.0, 6.43)},
    "training-8": {"rule": (40190.0, 7.086), "inner": (3153.0, 6.967)},
    "training-9": {"rule": (43230.0, 7.295), "inner": (3178.0, 7.05)},
    "training-10": {"rule": (48720.0, 7.981), "inner": (3371.0, 7.914)},
    "nominal-6": {"rule": (4407.0, 5.964), "inner": (2463.0, 5.904)},
    "wide-6": {"rule": (37230.0, 6.382), "inner": (4033.0, 6.116)},
    "interference-6": {"rule": (14300.0, 6.652), "inner": (3032.0, 6.555)},
    "tiny": {"rule": (45.03, 0.2315), "inner": (45.02, 0.2239)},
}
"""Name of a system -> kind of reference point -> delay in s and energy in J of an episode (100 slots; six in `tiny`).

"rule" is the one results are judged by: the componentwise worst of the fronts of random, greedy and LinUCB plus 10 % of
their range (in `tiny`: of greedy and the optimum). "inner" is the same over preferences from .1 to .9. With frequencies
that differ, "rule" is dominated by weight 0 on delay, where all tasks pile up on the slowest server; "inner" is not.
"""


def ref_points(config: OffloadingConfig) -> dict[str, tuple[float, float]]:
    """Look up the reference points (minus s, minus J) of a system: "rule", "inner", and "double", twice the first.

    A system without a name takes those of the training systems, averaged over the numbers of edge servers it can have
    (beyond ten: that of ten).
    """
    names = [name for name, system in SYSTEMS.items() if system == config]
    fewest, most = config.system.edges
    names = names or [f"training-{min(edges, 10)}" for edges in range(fewest, most + 1)]
    rule, inner = (-np.mean([REF_POINTS[n][kind] for n in names], axis=0) for kind in ("rule", "inner"))
    return {
        k: (float(p[0]), float(p[1])) for k, p in (("rule", rule), ("inner", inner), ("double", 2 * rule))
    }
