"""Heat in a building as a network of zones: conductances between them, capacities within, exact steps in time.

    C_i dT_i/dt = sum_j K_ij (T_j - T_i) + sum_b B_ib (T_b - T_i) + q_i

C heat capacity (J/K), K conductance between zones (W/K), B conductance to the boundaries b = outdoor air and ground, q
heat put in (W). With L = diag(rows of K and B summed) - K the step of length dt at constant boundaries and heat is

    T' = F T + G (B T_b + q),     F = exp(-C^-1 L dt),     G = (I - F) L^-1,

exact and stable for any dt. C^-1 L is similar to the symmetric C^-1/2 L C^-1/2, whose eigenvectors give both.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

FLOORS = ("bottom", "middle", "top")
PLACES = ("core", "north", "east", "south", "west")
N_ZONES = len(FLOORS) * len(PLACES)
"""Zone number = 5 floor + place: a core and four perimeter zones on each of three floors."""

LENGTH_M, WIDTH_M, HEIGHT_M, DEPTH_M = 50.0, 30.0, 3.5, 4.57
"""Floor plan, storey height, depth of the perimeter zones (15 ft, as in the DOE prototype offices)."""
WINDOW_SHARE = 0.4
U_WALL, U_WINDOW, U_ROOF, U_GROUND, U_SLAB, U_PARTITION = 0.5, 2.0, 0.3, 0.3, 1.5, 2.0
"""Heat transfer coefficients, W/(m2 K)."""
CAPACITY_J_PER_M2_K = 165e3
"""Of a building of medium weight, per floor area."""
INFILTRATION_PER_H = 0.3
AIR_J_PER_M3_K = 1206.0


@dataclass(frozen=True)
class Network:
    """A building as numbers.

    Args:
        area_m2: [z] floor area of each zone.
        window_m2: [z] glass of each zone (0 in the core).
        capacity: [z] J/K.
        between: [z, z] symmetric, W/K between zones.
        outdoors: [z] W/K to the outdoor air.
        ground: [z] W/K to the ground.
        roof: [z] m2 of roof above each zone.
    """

    area_m2: np.ndarray
    window_m2: np.ndarray
    capacity: np.ndarray
    between: np.ndarray
    outdoors: np.ndarray
    ground: np.ndarray
    roof: np.ndarray


def office() -> Network:
    """Build the three-storey office.

    Source: geometry and zoning after the large-office prototype of the US Department of Energy (one core and four
    perimeter zones a floor); heat capacity ISO 13790, table 12, class medium; U-values of ordinary insulation.
    """
    inner_length, inner_width = LENGTH_M - 2 * DEPTH_M, WIDTH_M - 2 * DEPTH_M
    long_side, short_side = (LENGTH_M + inner_length) / 2 * DEPTH_M, (WIDTH_M + inner_width) / 2 * DEPTH_M
    area = np.array([inner_length * inner_width, long_side, short_side, long_side, short_side])
    facade = np.array([0.0, LENGTH_M, WIDTH_M, LENGTH_M, WIDTH_M]) * HEIGHT_M
    inner_wall = np.array([0.0, inner_length, inner_width, inner_length, inner_width]) * HEIGHT_M
    corner_wall = np.hypot(DEPTH_M, DEPTH_M) * HEIGHT_M

    floor = np.zeros((len(PLACES), len(PLACES)))
    floor[0] = U_PARTITION * inner_wall
    for place in range(1, len(PLACES)):
        floor[place, place % 4 + 1] = (
            U_PARTITION * corner_wall
        )  # north-east, east-south, south-west, west-north
    floor += floor.T
    between = np.kron(np.eye(len(FLOORS)), floor)
    slab = np.kron(np.eye(len(FLOORS), k=1), np.diag(U_SLAB * area))
    between += slab + slab.T

    everywhere = np.tile(area, len(FLOORS))
    window = np.tile(facade * WINDOW_SHARE, len(FLOORS))
    opaque = np.tile(facade * (1 - WINDOW_SHARE), len(FLOORS))
    is_bottom, is_top = (np.repeat(np.array(FLOORS) == name, len(PLACES)) for name in ("bottom", "top"))
    roof = everywhere * is_top
    leaks = everywhere * HEIGHT_M * AIR_J_PER_M3_K * INFILTRATION_PER_H / 3600
    return Network(
        area_m2=everywhere,
        window_m2=window,
        capacity=CAPACITY_J_PER_M2_K * everywhere,
        between=between,
        outdoors=U_WALL * opaque + U_WINDOW * window + U_ROOF * roof + leaks,
        ground=U_GROUND * everywhere * is_bottom,
        roof=roof,
    )


def exact_step(network: Network, dt_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Compute F [z, z] and G [z, z] (K/W) of one step of `dt_s` seconds."""
    loss = np.diag(network.between.sum(axis=1) + network.outdoors + network.ground) - network.between
    root = np.sqrt(network.capacity)
    rates, vectors = np.linalg.eigh(loss / root[:, None] / root)
    into, out = vectors / root[:, None], (vectors * root[:, None]).T
    keep = (into * np.exp(-rates * dt_s)) @ out
    gain = (into * (-np.expm1(-rates * dt_s) / rates)) @ (vectors / root[:, None]).T
    return keep, gain
