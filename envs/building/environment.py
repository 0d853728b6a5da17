"""The building as an environment: a working week, fifteen thermostats, three wishes for each group of zones."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from gymnasium import spaces

from pareto.errors import ConfigError, did_you_mean
from pareto.objectives import Objective, Objectives

from ..batched import BatchedEnv, SingleEnv, register
from ..dynamics import Dynamics
from ..streams import Streams
from .climate import DAYS, STEP_S, STEPS_PER_DAY, clear_sky, mean_air_c, persist, sunshine
from .heat import FLOORS, N_ZONES, PLACES, U_ROOF, Network, exact_step, office

GROUPS = {"building": ("",), "floors": tuple(f"_{floor}" for floor in FLOORS)}
WISHES = ("comfort", "energy", "ramping")

SET_POINT_C, DEAD_BAND_K, WORST_K = 22.5, 1.0, 5.0
"""Full comfort within the dead band about the set point, none at `WORST_K` beyond it."""
AWAY = 0.1
"""Weight of comfort when nobody is in."""
POWER_W_PER_M2 = 90.0
"""Heat that a zone's unit can bring in or take out."""
ENERGY_W_PER_M2, RAMPING_W_PER_M2 = 15.0, 5.0
"""Electric power, and change of it from step to step, that use up a whole point of reward at the dearest price."""
GROUND_C = 18.0
SOLAR_GAIN = 0.35
"""Share of the irradiance on glass that becomes heat inside."""
ROOF_ABSORBED = 0.6 / 20.0
"""Absorptance over the outer film coefficient, m2 K/W: how much warmer the roof feels for a W/m2 of sun."""
GAINS_W_PER_M2 = 20.0
"""People, light and machines in full use."""
IDLE_GAINS = 0.15
"""Share of them that never stops."""


def _presence() -> np.ndarray:
    """[96] share of the staff present: in from 7 to 9, out from 17 to 19, a fifth less over lunch."""
    hour = np.arange(STEPS_PER_DAY) * 24 / STEPS_PER_DAY
    share = np.clip(np.minimum((hour - 7) / 2, (19 - hour) / 2), 0.0, 1.0)
    return share * np.where((hour >= 12) & (hour < 13), 0.8, 1.0)


def _price() -> np.ndarray:
    """[96] price of a kWh as a share of the dearest hours', 14 to 19: 0.4 at night, 0.6 by day."""
    hour = np.arange(STEPS_PER_DAY) * 24 / STEPS_PER_DAY
    return np.where((hour >= 14) & (hour < 19), 1.0, np.where((hour >= 7) & (hour < 22), 0.6, 0.4))


class Rooms(NamedTuple):
    """State of n buildings.

    Args:
        temperature: [n, 15] deg C, zone by zone (5 floor + place).
        power: [n, g] electric W of each group in the step before.
        staff: [n, 3] share of its full staff that comes to each floor this week.
        spell: [n, 2] weather (see `climate`).
        clock: [n] int64, quarter of an hour of the year.
    """

    temperature: np.ndarray
    power: np.ndarray
    staff: np.ndarray
    spell: np.ndarray
    clock: np.ndarray


class BuildingDynamics(Dynamics[Rooms]):
    """Exact heat flow for a quarter of an hour under constant heating, cooling and weather; see `Building`."""

    def __init__(self, groups: Literal["building", "floors"] = "floors") -> None:
        if groups not in GROUPS:
            raise ConfigError(
                f"unknown groups {groups!r}{did_you_mean(groups, GROUPS)}; known: {', '.join(GROUPS)}"
            )
        self.network = office()
        keep, gain = exact_step(self.network, STEP_S)
        self._step = np.concatenate([keep, gain], axis=1)  # [15, 30], on temperatures and watts
        irradiance, self._air = clear_sky(), mean_air_c()
        self._roof_sun, self._sun_w = irradiance[:, 4].copy(), irradiance @ _sunlit_m2(self.network)
        self._presence, self._price = _presence(), _price()
        self._gains_w = GAINS_W_PER_M2 * self.network.area_m2
        self.power_w = POWER_W_PER_M2 * self.network.area_m2
        n_groups = len(GROUPS[groups])
        self._in_groups = (n_groups, N_ZONES // n_groups)
        group_m2 = self.network.area_m2.reshape(self._in_groups).sum(axis=1)
        self._energy_w, self._ramping_w = ENERGY_W_PER_M2 * group_m2, RAMPING_W_PER_M2 * group_m2

        self.objectives = Objectives(
            Objective(f"{wish}{group}", unit="points", scale=480.0)
            for wish in WISHES
            for group in GROUPS[groups]
        )
        n_seen = N_ZONES + n_groups + 10
        self.observation_space = spaces.Box(-np.inf, np.inf, (n_seen,), dtype=np.float32)
        self.action_space = spaces.Box(-1.0, 1.0, (N_ZONES,), dtype=np.float32)
        most = POWER_W_PER_M2 / _MIN_COP
        worst = [0.0, 1 - most / ENERGY_W_PER_M2, 1 - most / RAMPING_W_PER_M2]
        self.reward_space = spaces.Box(
            np.repeat(worst, n_groups).astype(np.float32), np.ones(len(self.objectives), dtype=np.float32)
        )
        self.ref_point = (0.0,) * len(self.objectives)
        self.gamma = 1.0

    def start(self, streams: Streams) -> Rooms:
        """Begin at midnight of any day of the year, rooms near the set point, weather in its long-run state."""
        n = len(streams)
        shares = streams.uniforms(4)
        normals = streams.normals(N_ZONES + 2)
        day = (shares[:, 0] * DAYS).astype(np.int64)
        return Rooms(
            temperature=SET_POINT_C + normals[:, :N_ZONES],
            power=np.zeros((n, self._in_groups[0])),
            staff=0.6 + 0.4 * shares[:, 1:],
            spell=normals[:, N_ZONES:],
            clock=day * STEPS_PER_DAY,
        )

    def step(
        self, state: Rooms, actions: np.ndarray, streams: Streams
    ) -> tuple[Rooms, np.ndarray, np.ndarray]:
        """Hold heating and cooling for a quarter of an hour."""
        n = len(actions)
        grouped, by_floor = (n, *self._in_groups), (n, len(FLOORS), len(PLACES))
        slot = state.clock % STEPS_PER_DAY
        air, clear = self._weather(state)
        presence = self._presence.take(slot)[:, None] * state.staff  # [n, 3]
        use = (IDLE_GAINS + (1 - IDLE_GAINS) * presence)[:, :, None]
        heat = self.power_w * actions
        watts = heat + self.network.outdoors * air[:, None] + self.network.ground * GROUND_C
        watts += self._sun_w.take(state.clock, axis=0) * clear[:, None]
        watts += (self._gains_w.reshape(by_floor[1:]) * use).reshape(n, N_ZONES)
        # einsum, not a matrix product: a copy's numbers must not depend on how many run beside it
        temperature = np.einsum("zk,nk->nz", self._step, np.concatenate([state.temperature, watts], axis=1))

        drawn = np.where(heat > 0, heat / heating_cop(air)[:, None], -heat / cooling_cop(air)[:, None])
        electric = drawn.reshape(grouped).sum(axis=-1)
        off = (np.abs(temperature - SET_POINT_C) - DEAD_BAND_K) / WORST_K
        weight = np.maximum(presence, AWAY)[:, :, None]
        discomfort = (weight * off.clip(0.0, 1.0).reshape(by_floor)).reshape(grouped).mean(axis=-1)
        rewards = np.empty((n, len(self.objectives)), dtype=np.float32)
        comfort, energy, ramping = rewards.reshape(n, 3, -1).swapaxes(0, 1)  # views
        np.subtract(1, discomfort, out=comfort, casting="same_kind")
        np.subtract(
            1, self._price.take(slot)[:, None] * electric / self._energy_w, out=energy, casting="same_kind"
        )
        np.subtract(1, np.abs(electric - state.power) / self._ramping_w, out=ramping, casting="same_kind")
        spell = persist(state.spell, streams.normals(2))
        clock = (state.clock + 1) % (DAYS * STEPS_PER_DAY)
        after = Rooms(temperature, electric, state.staff.copy(), spell, clock)
        return after, rewards, np.zeros(n, dtype=bool)

    def observe(self, state: Rooms) -> np.ndarray:
        """See temperatures, air and sun now, who is in, the hour, the price, and the power just drawn, scaled to about 1."""
        slot = state.clock % STEPS_PER_DAY
        air, clear = self._weather(state)
        hour = 2 * np.pi / STEPS_PER_DAY * slot
        season = 2 * np.pi / (DAYS * STEPS_PER_DAY) * state.clock
        return np.column_stack(
            [
                (state.temperature - SET_POINT_C) / WORST_K,
                state.power / self._energy_w,
                (air - SET_POINT_C) / 10,
                self._roof_sun.take(state.clock) * clear / 1000,
                self._presence.take(slot)[:, None] * state.staff,
                np.sin(hour),
                np.cos(hour),
                np.sin(season),
                np.cos(season),
                self._price.take(slot),
            ]
        ).astype(np.float32)

    def _weather(self, state: Rooms) -> tuple[np.ndarray, np.ndarray]:
        """Outdoor air [n] in deg C, and the share [n] of the clear sky's sun that the clouds let through."""
        return self._air.take(state.clock) + 3.0 * state.spell[:, 0], sunshine(state.spell[:, 1])


def _sunlit_m2(network: Network) -> np.ndarray:
    """[5, 15]: heat into each zone, in W, per W/m2 of sun on each of four facades (by windows) and on the roof."""
    glass = np.zeros((4, len(FLOORS), len(PLACES)))
    for facade in range(4):
        glass[facade, :, facade + 1] = SOLAR_GAIN * network.window_m2.reshape(len(FLOORS), -1)[:, facade + 1]
    return np.concatenate([glass.reshape(4, N_ZONES), U_ROOF * ROOF_ABSORBED * network.roof[None]])


_MIN_COP = 2.0


def heating_cop(air_c: np.ndarray) -> np.ndarray:
    """Heat delivered per electricity: 3.5 at 10 deg C outdoors, 0.05 more for each degree warmer, within 2 and 5."""
    return np.clip(3.5 + 0.05 * (air_c - 10), _MIN_COP, 5.0)


def cooling_cop(air_c: np.ndarray) -> np.ndarray:
    """Heat removed per electricity: 3.5 at 30 deg C outdoors, 0.06 less for each degree warmer, within 2 and 5."""
    return np.clip(3.5 - 0.06 * (air_c - 30), _MIN_COP, 5.0)


class Building(SingleEnv):
    """Heat and cool an office for a working week: comfort against the bill against a steady load, floor by floor.

    Description:
        Three floors, each with a core and four perimeter zones, exchange heat with each other, the outdoor air and
        the ground; sun comes through the windows and onto the roof, staff and machines warm the rooms by day. Each
        zone has a reversible heat pump whose efficiency depends on the outdoor air, and electricity is dear in the
        afternoon. A step is a quarter of an hour, an episode five working days from midnight of any day of the
        year. All physics is stated in `heat` (zones) and `climate` (weather); nothing is read from data files, so
        results are not comparable with those on SustainGym's building, after which the task is modelled.

    Observation:
        [25 + g] float32: fifteen temperatures off the set point; electric power of each of g groups in the last
        step; outdoor air; irradiance on the roof; presence of staff on each floor; sine and cosine of the hour and
        of the season; price. All scaled to about 1.

    Action:
        Box(-1, 1) [15]: share of each zone's heating (> 0) or cooling (< 0) power.

    Reward space:
        [3 g], each at most 1, for every group of zones (the whole building, or each floor): comfort, 1 where all
        zones are within 1 K of 22.5 deg C, falling to 0 at 6 K off when everyone is in (a tenth of that loss when
        nobody is); energy, 1 minus the cost of electricity, where 15 W/m2 at the dearest price cost 1; ramping, 1
        minus the change of the group's electric power since the last step in units of 5 W/m2. A week of random
        heating and cooling earns a little more than nothing of each. Order: comfort of every group, energy of every
        group, ramping of every group.

    Start:
        Midnight of a random day, zones at 22.5 deg C with deviation 1 K, random weather and staff.

    Termination:
        Never. The registered ids truncate after 480 steps.

    Arguments:
        groups: "building" (3 objectives) or "floors" (9).

    Credits:
        Task after Liu and others (2025), Efficient discovery of Pareto front for multi-objective reinforcement
        learning (C-MORL), whose 3 and 9 objectives these are, on the building of Yeh and others (2023), SustainGym.
        Model, weather and constants are this suite's own.
    """

    dynamics_class = BuildingDynamics


class BuildingVector(BatchedEnv):
    """Many `Building` at once."""

    dynamics_class = BuildingDynamics


def register_envs() -> None:
    """File the building with 3 objectives and with 9."""
    for name, groups in (("Building3-v0", "building"), ("Building9-v0", "floors")):
        register(name, f"{__name__}:Building", max_episode_steps=480, groups=groups)
