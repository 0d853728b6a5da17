"""Minecart: drive out to five mines, fill the cart with two ores, come home on little fuel."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from gymnasium import spaces

from pareto.errors import ConfigError
from pareto.objectives import Objective, Objectives

from . import pictures
from .batched import BatchedEnv, SingleEnv, register
from .dynamics import Dynamics
from .streams import Streams

MINE, LEFT, RIGHT, ACCELERATE, BRAKE, NOTHING = range(6)
FRAMES = 4
"""An action is held for so many frames."""
CAPACITY = 1.5
STANDING = 1e-3
"""Below this speed a cart does not move, and can mine."""
ACCELERATION = 0.0075
MINE_RADIUS, BASE_RADIUS = 0.14, 0.15
FUEL = np.array([-0.22, -0.02, -0.02, -0.12, -0.02, -0.02], dtype=np.float32)
"""Per step: 0.005 a frame for being there, 0.05 more for mining, 0.025 more for accelerating."""
MINES = np.array([[0.16, 0.84], [0.5, 0.84], [0.84, 0.84], [0.84, 0.5], [0.84, 0.16]])
YIELDS = np.array([[0.2, 0.0], [0.15, 0.1], [0.2, 0.2], [0.1, 0.15], [0.0, 0.2]])
"""Mean amount of each ore that a frame of mining brings up, mine by mine."""

_TURN = np.array([0, -1, 1, 0, 0, 0])
_KEEPS = np.array([1.0, 1.0, 1.0, 1.0, 0.0, 1.0])  # share of its speed that a cart keeps: braking stops it
_PUSH = np.array([0.0, 0.0, 0.0, ACCELERATION, 0.0, 0.0])
_START_HEADING = 4

# Heading h points 10 h + 5 degrees. Steering wraps it into 0..35, scraping along walls does not, and the cosine of 365
# degrees is not that of 5 in the last bit; so some circuits either way are tabled, beyond which headings wrap as well.
# Indices into the tables are offset by _ZERO.
_CIRCLE, _ZERO = 36, 36 * 50
_HEADING = np.arange(-_ZERO, _ZERO)
_ANGLES = [(10 * h + 5) * math.pi / 180 for h in range(-_ZERO, _ZERO)]
_DIRECTION = np.array([[math.cos(a) for a in _ANGLES], [math.sin(a) for a in _ANGLES]])
_STRAIGHT = np.where(np.abs(_HEADING) < _ZERO - _CIRCLE, _HEADING, _HEADING % _CIRCLE)
_STEERED = _ZERO + np.concatenate([(_HEADING - 1) % _CIRCLE, _STRAIGHT, (_HEADING + 1) % _CIRCLE])
"""The next heading: third 0 for left, 1 for straight on, 2 for right."""


class Cart(NamedTuple):
    """State of n carts.

    Args:
        position: [n, 2] float64 in the unit square; columns are contiguous in memory.
        speed: [n] float64, per frame.
        heading: [n] int64, index into `_DIRECTION`.
        ore: [n, 2] float64, in the cart.
        departed: [n] bool, has left the base.
    """

    position: np.ndarray
    speed: np.ndarray
    heading: np.ndarray
    ore: np.ndarray
    departed: np.ndarray


class _Track(NamedTuple):
    """What carts do in the frames of one step: place [4, 2, k], speed [4, k], heading [4, k] (not wrapped)."""

    place: np.ndarray
    speed: np.ndarray
    heading: np.ndarray


class CartDynamics(Dynamics[Cart]):
    """Driving, mining and coming home; see `Minecart`."""

    def __init__(self, yield_std: float = 0.05) -> None:
        if not yield_std >= 0:
            raise ConfigError(f"yield_std must be >= 0; got {yield_std!r}")
        self.yield_std = yield_std
        self.objectives = Objectives(
            [
                Objective("ore_1", scale=CAPACITY),
                Objective("ore_2", scale=CAPACITY),
                Objective("fuel", unit="-fuel"),
            ]
        )
        self.observation_space = spaces.Box(-1.0, 1.0, (7,), dtype=np.float32)
        self.action_space = spaces.Discrete(6)
        self.reward_space = spaces.Box(
            np.array([0.0, 0.0, -1.0], dtype=np.float32),
            np.array([CAPACITY, CAPACITY, 0.0], dtype=np.float32),
        )
        self.ref_point = (-1.0, -1.0, -200.0)
        self.gamma = 0.98

    def start(self, streams: Streams) -> Cart:
        """Put empty carts at the base, heading into the square."""
        n = len(streams)
        return Cart(
            np.zeros((2, n)).T,
            np.zeros(n),
            np.full(n, _ZERO + _START_HEADING),
            np.zeros((n, 2)),
            np.zeros(n, dtype=bool),
        )

    def step(self, state: Cart, actions: np.ndarray, streams: Streams) -> tuple[Cart, np.ndarray, np.ndarray]:
        """Hold the actions for four frames."""
        n = len(actions)
        rewards = np.zeros((n, 3), dtype=np.float32)
        rewards[:, 2] = FUEL.take(actions)
        terminated = np.zeros(n, dtype=bool)
        ore = state.ore.copy()

        turn, push = _TURN.take(actions), _PUSH.take(actions)
        speed = state.speed * _KEEPS.take(actions)
        track = _drive(np.ascontiguousarray(state.position.T), speed, state.heading, turn, push)
        place, speed, heading = track.place[-1], track.speed[-1], track.heading[-1]
        departed = np.ones(n, dtype=bool)

        near = np.flatnonzero(track.place.max(axis=1).min(axis=0) < BASE_RADIUS)
        if len(near):
            inside = np.sqrt(np.square(track.place.take(near, axis=2)).sum(axis=1)) < BASE_RADIUS
            away = np.logical_or.accumulate(np.concatenate([state.departed[None, near], ~inside]))
            departed[near] = away[-1]
            home = inside & away[:-1]
            back = home.any(axis=0)
            if back.any():
                ended, frame = near[back], home[:, back].argmax(axis=0)
                terminated[ended] = True
                rewards[ended, :2], ore[ended] = ore[ended], 0.0
                # the episode is over, but the action is felt once more unless that was its last frame
                more = frame < FRAMES - 1
                place[:, ended] = track.place[frame, :, ended].T
                speed[ended] = track.speed[frame, ended] + more * push[ended]
                heading[ended] = track.heading[frame, ended] + more * turn[ended]

        digging = np.flatnonzero((actions == MINE) & (state.speed < STANDING))
        if len(digging):
            at = state.position.T.take(digging, axis=1)
            ore[digging] = self._dig(at, ore.take(digging, axis=0), streams.at(digging))
        return Cart(place.T, speed, heading, ore, departed), rewards, terminated

    def observe(self, state: Cart) -> np.ndarray:
        """See position, speed, sine and cosine of the heading, and how full the cart is of each ore."""
        seen = np.empty((len(state.speed), 7), dtype=np.float32)
        seen[:, 0:2] = state.position
        seen[:, 2] = state.speed
        seen[:, 3:5] = _DIRECTION[::-1].take(state.heading, axis=1).T
        np.divide(state.ore, CAPACITY, out=seen[:, 5:7], casting="same_kind")
        return seen

    def picture(self, state: Cart) -> np.ndarray:
        """Draw the base, the mines in the colours of their ores, and the cart with its nose."""
        x, y = state.position[0]
        nose = state.position[0] + 0.025 * _DIRECTION[:, state.heading[0]]
        richness = YIELDS / YIELDS.max()
        colours = (255 - richness @ [[0, 120, 215], [215, 120, 0]]).astype(int).tolist()
        mines = [(mx, my, MINE_RADIUS, tuple(colour)) for (mx, my), colour in zip(MINES, colours)]
        cart = [(x, y, 0.03, pictures.AGENT), (*nose, 0.012, pictures.GOLD)]
        return pictures.discs([(0.0, 0.0, BASE_RADIUS, pictures.HOME), *mines, *cart])

    def _dig(self, position: np.ndarray, ore: np.ndarray, streams: Streams) -> np.ndarray:
        """Fill standing carts for four frames; noise is drawn only where there is a mine.

        Args:
            position: [2, k].
            ore: [k, 2] in the carts before.
            streams: k random streams.

        Returns:
            [k, 2] in the carts afterwards.
        """
        offset = position[:, None] - MINES.T[:, :, None]
        offset *= offset
        reach = offset[0] + offset[1] < MINE_RADIUS**2  # [5, k]; no two mines are in reach at once
        rows = np.flatnonzero(reach.any(axis=0))
        if not len(rows):
            return ore
        dug = YIELDS.take(reach.take(rows, axis=1).argmax(axis=0), axis=0)[:, None].repeat(FRAMES, axis=1)
        if self.yield_std > 0:
            dug += self.yield_std * streams.at(rows).normals(2 * FRAMES).reshape(-1, FRAMES, 2)
            np.maximum(dug, 0.0, out=dug)
        amount = dug[..., 0] + dug[..., 1]  # [rows, 4]
        load = np.empty((len(rows), FRAMES + 1))
        load[:, 0] = ore.take(rows, axis=0).sum(axis=1)
        np.cumsum(amount, axis=1, out=load[:, 1:])
        load[:, 1:] += load[:, :1]
        if (load[:, -1] > CAPACITY).any():
            # what does not fit is left behind, in proportion; a full cart takes nothing more
            np.minimum(load, CAPACITY, out=load)
            share = np.divide(load[:, 1:] - load[:, :-1], amount, out=np.zeros_like(amount), where=amount > 0)
            dug *= share[..., None]
        ore[rows] += dug.sum(axis=1)
        return ore


def _drive(
    position: np.ndarray, speed: np.ndarray, heading: np.ndarray, turn: np.ndarray, push: np.ndarray
) -> _Track:
    """Drive n carts frame by frame; walls stop the part of a motion that goes through them.

    A cart that was at a wall and drives against it turns by one heading towards the way it slides; in a corner, or
    sliding slower than `STANDING`, it does not. Its speed becomes the distance it really moved. A cart slower than
    `STANDING` keeps its speed but stays where it is. The order of operations matters down to the last bit: an arc
    that begins and ends on a wall is to end exactly on it.

    Args:
        position: [2, n] in the unit square.
        speed: [n] per frame.
        heading: [n] index into `_DIRECTION`.
        turn: [n] -1, 0 or 1, change of heading per frame.
        push: [n] change of speed per frame.
    """
    n = len(speed)
    track = _Track(np.empty((FRAMES, 2, n)), np.empty((FRAMES, n)), np.empty((FRAMES, n), dtype=np.int64))
    third = (turn + 1) * len(_HEADING)
    for frame in range(FRAMES):
        heading = _STEERED.take(heading + third, out=track.heading[frame])
        speed = speed + push
        driven = speed * (speed >= STANDING)
        velocity = _DIRECTION.take(heading, axis=1)
        velocity *= driven
        place = np.add(position, velocity, out=track.place[frame])
        np.maximum(place, 0.0, out=place)
        np.minimum(place, 1.0, out=place)
        moved = place - position
        at_wall = position == np.rint(position)
        # a moving cart has some velocity along both axes, so that standing still along one means a wall
        turns = (at_wall > at_wall[::-1]) & (moved == 0.0) & (np.abs(velocity[::-1]) > STANDING)
        if turns.any():
            slide = np.sign(velocity[0] * velocity[1])
            heading += (slide * turns[0] - slide * turns[1]).astype(np.int64)
        moved *= moved
        standing = speed - driven
        speed = np.sqrt(moved[0] + moved[1], out=track.speed[frame])
        speed += standing
        position = place
    return track


class Minecart(SingleEnv):
    """Mine two ores in five places and bring them home; every frame costs fuel, mining and accelerating cost more.

    Description:
        The unit square with a base in the corner (0, 0) and five mines of different yields along the far sides. The
        cart steers by 10 degrees a frame, keeps its speed without friction, stops at once when it brakes, and
        slides along walls. Mining works only while standing within 0.14 of a mine; the cart holds 1.5 in all.

    Observation:
        [7] float32: x, y, speed, sine and cosine of the heading, share of the capacity filled with each ore.

    Action:
        Discrete(6): mine, left, right, accelerate, brake, nothing; each held for four frames.

    Reward space:
        [3]: amount of either ore brought home, given on arrival; minus the fuel spent in the step.

    Start:
        At the base, standing, heading 45 degrees, empty.

    Termination:
        On coming back to within 0.15 of the base after having left it. The registered ids truncate after 1000 steps.

    Arguments:
        yield_std: standard deviation of what a frame of mining yields of each ore (negative yields count as none);
            0 makes the environment deterministic.

    Credits:
        Abels, Roijers, Lenaerts, Nowe, Steckelmacher (2019), Dynamic weights in multi-objective deep reinforcement
        learning. Dynamics equal to MO-Gymnasium's minecart-v0 and minecart-deterministic-v0, step for step under
        the same luck.
    """

    metadata = pictures.DRAWN
    dynamics_class = CartDynamics


class MinecartVector(BatchedEnv):
    """Many `Minecart` at once."""

    dynamics_class = CartDynamics


def register_envs() -> None:
    """File the noisy and the deterministic minecart."""
    for name, twin, std in (
        ("Minecart", "minecart-v0", 0.05),
        ("MinecartDeterministic", "minecart-deterministic-v0", 0.0),
    ):
        register(f"{name}-v0", f"{__name__}:Minecart", max_episode_steps=1000, twin=twin, yield_std=std)
