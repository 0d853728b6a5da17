"""The building: heat against a fine integration written out zone by zone, sun against geometry, rewards by hand."""

import gymnasium as gym
import numpy as np
import pytest

from envs.building import climate, heat
from envs.building.environment import BuildingDynamics
from envs.streams import Streams
from pareto.errors import ConfigError
from pareto.rng import generator


def test_geometry_adds_up():
    office = heat.office()
    assert office.area_m2.sum() == pytest.approx(3 * 50 * 30)
    assert office.window_m2.sum() == pytest.approx(3 * 2 * (50 + 30) * 3.5 * 0.4)
    assert office.roof.sum() == pytest.approx(1500)
    np.testing.assert_allclose(office.between, office.between.T)
    # the bottom core touches four perimeter zones and the core above it, and has neither window nor outer wall
    assert (office.between[0] > 0).sum() == 5
    # each perimeter zone of the middle floor touches its core, its two neighbours round the corner, above and below
    for place, corners in ((1, (2, 4)), (2, (1, 3)), (3, (2, 4)), (4, (1, 3))):
        touched = {5, *(5 + c for c in corners), place, 10 + place}
        assert set(np.flatnonzero(office.between[5 + place])) == touched
    leaks = 0.3 * 1206 * 3.5 / 3600
    assert office.outdoors[0] == pytest.approx(leaks * office.area_m2[0])
    assert office.outdoors[10] == pytest.approx((leaks + 0.3) * office.area_m2[0])  # under the roof
    wall, area = 50 * 3.5, office.area_m2[6]
    assert office.outdoors[6] == pytest.approx(wall * (0.6 * 0.5 + 0.4 * 2.0) + leaks * area)
    assert office.ground[5:].sum() == 0
    assert office.ground[0] == pytest.approx(0.3 * office.area_m2[0])


def test_exact_step_equals_a_fine_integration():
    """Fourth-order Runge-Kutta at 20 s of the heat balance, one zone and one neighbour at a time."""
    office = heat.office()
    rng = generator("test", "building", "heat")
    temperature, watts = 22 + 5 * rng.standard_normal(15), 2e4 * rng.standard_normal(15)
    outdoors, ground = 35.0, 18.0

    def rate(t):
        dt = np.empty(15)
        for i in range(15):
            flow = watts[i] + office.outdoors[i] * (outdoors - t[i]) + office.ground[i] * (ground - t[i])
            for j in range(15):
                flow += office.between[i, j] * (t[j] - t[i])
            dt[i] = flow / office.capacity[i]
        return dt

    t, h = temperature.copy(), 20.0
    for _ in range(45):
        a = rate(t)
        b = rate(t + h / 2 * a)
        c = rate(t + h / 2 * b)
        t = t + h / 6 * (a + 2 * b + 2 * c + rate(t + h * c))
    keep, gain = heat.exact_step(office, 900.0)
    into = office.outdoors * outdoors + office.ground * ground + watts
    np.testing.assert_allclose(keep @ temperature + gain @ into, t, atol=1e-8)


def test_a_building_as_warm_as_its_surroundings_stays_so():
    office = heat.office()
    keep, gain = heat.exact_step(office, 900.0)
    same = np.full(15, 18.0)
    np.testing.assert_allclose(keep @ same + gain @ ((office.outdoors + office.ground) * 18.0), same)


def test_sun_stands_where_geometry_says():
    noon, latitude = np.array(12.0), 31.8
    for day, declination in ((172, 23.45), (355, -23.45), (81, 0.0)):
        east, north, up = climate.elevation(np.array(day), noon)
        assert np.rad2deg(np.arcsin(up)) == pytest.approx(90 - abs(latitude - declination), abs=0.05)
        assert east == pytest.approx(0, abs=1e-12)
        assert north < 0  # the sun is in the south at noon
    east, north, up = climate.elevation(np.arange(1, 366)[:, None], np.arange(0, 24, 0.25))
    np.testing.assert_allclose(east**2 + north**2 + up**2, 1)
    assert (east[:, 4 * 8] > 0).all()  # in the east at eight in the morning
    assert abs((up[80] > 0).mean() - 0.5) < 0.02  # twelve hours of day at the equinox


def test_walls_see_the_sun_they_face():
    clear = climate.clear_sky().reshape(365, 96, 5)
    assert (clear[:, :16] == 0).all()  # before four in the morning
    north, east, south, west, roof = np.moveaxis(clear.sum(axis=1), -1, 0)
    np.testing.assert_allclose(
        clear[:, 1:, 1].sum(axis=1), clear[:, :0:-1, 3].sum(axis=1)
    )  # morning mirrors evening
    assert (south[330:] > roof[330:]).all()  # a low winter sun
    assert (roof[150:200] > 2 * south[150:200]).all()
    assert (north < south).sum() > 200
    assert east[100] == pytest.approx(west[100], rel=0.05)
    assert (clear[100, 30:44, 1] > clear[100, 30:44, 3]).all()  # the east wall has the morning sun
    # at the equinox, two hours before sunset: the sun 25.1 degrees high (cos 31.8 cos 60) and nearly two air masses
    high = np.cos(np.deg2rad(31.8)) * np.cos(np.deg2rad(60))
    assert clear[80, 64, 4] == pytest.approx(1353 * 0.7 ** (high**-0.678) * (high + 0.1), rel=5e-3)
    # highest sun: 8.35 degrees off the zenith, nearly one air mass
    direct = 1353 * 0.7 ** (np.sin(np.deg2rad(81.65)) ** -0.678)
    assert clear[171, 48, 4] == pytest.approx(direct * (np.sin(np.deg2rad(81.65)) + 0.1), rel=1e-3)


def test_weather_spells_have_variance_one_and_the_stated_memory():
    streams = Streams(range(4000))
    spell = start = streams.normals(2)
    for _ in range(24):  # six hours
        spell = climate.persist(spell, streams.normals(2))
    np.testing.assert_allclose(spell.var(axis=0), 1, atol=0.1)
    memory = (spell * start).mean(axis=0)
    np.testing.assert_allclose(memory, [np.exp(-6 / 24), np.exp(-1)], atol=0.06)


def by_hand(d, state, action):
    """One building's step with plain numbers, from the descriptions; returns (temperatures, powers, rewards of 9)."""
    clock = int(state.clock[0])
    hour = clock % 96 / 4
    air = (
        18
        + 11 * np.cos(2 * np.pi * (clock // 96 + 1 - 200) / 365)
        + 7.5 * np.cos(2 * np.pi * (hour - 15) / 24)
    )
    air += 3 * state.spell[0, 0]
    cloud = min(max(0.35 + 0.3 * state.spell[0, 1], 0), 1)
    sun = climate.clear_sky()[clock] * (1 - 0.75 * cloud**3.4)
    share = min(max(min((hour - 7) / 2, (19 - hour) / 2), 0), 1) * (0.8 if 12 <= hour < 13 else 1)
    price = 1 if 14 <= hour < 19 else 0.6 if 7 <= hour < 22 else 0.4
    cop = {+1: min(max(3.5 + 0.05 * (air - 10), 2), 5), -1: min(max(3.5 - 0.06 * (air - 30), 2), 5)}
    office, into, drawn = d.network, np.empty(15), np.empty(15)
    for zone in range(15):
        floor, place = divmod(zone, 5)
        area = office.area_m2[zone]
        heating = 90 * area * action[zone]
        drawn[zone] = abs(heating) / cop[1 if heating > 0 else -1]
        gains = 20 * area * (0.15 + 0.85 * share * state.staff[0, floor])
        glass = 0.35 * office.window_m2[zone] * sun[place - 1] if place else 0
        roof = 0.3 * 0.6 / 20 * area * sun[4] if floor == 2 else 0
        into[zone] = heating + gains + glass + roof + office.outdoors[zone] * air + office.ground[zone] * 18
    keep, gain = heat.exact_step(office, 900)
    temperature = keep @ state.temperature[0] + gain @ into
    comfort, energy, ramping = [], [], []
    for floor in range(3):
        zones = range(5 * floor, 5 * floor + 5)
        off = [min(max((abs(temperature[z] - 22.5) - 1) / 5, 0), 1) for z in zones]
        comfort.append(1 - max(share * state.staff[0, floor], 0.1) * np.mean(off))
        power = sum(drawn[z] for z in zones)
        energy.append(1 - price * power / (15 * 1500))
        ramping.append(1 - abs(power - state.power[0, floor]) / (5 * 1500))
    return temperature, drawn.reshape(3, 5).sum(axis=1), comfort + energy + ramping


def test_steps_and_rewards_by_hand():
    d = BuildingDynamics("floors")
    rng = generator("test", "building", "by hand")
    streams = Streams([3])
    state = d.start(streams)
    for t in range(150):
        action = rng.uniform(-1, 1, 15) * (t % 3 > 0)
        temperature, power, rewards = by_hand(d, state, action)
        state, reward, terminated = d.step(state, action[None], streams)
        np.testing.assert_allclose(state.temperature[0], temperature, atol=1e-9)
        np.testing.assert_allclose(state.power[0], power, atol=1e-6)
        np.testing.assert_allclose(reward[0], rewards, rtol=0, atol=1e-6)
        assert not terminated[0]


def test_three_objectives_are_the_nine_put_together():
    three, nine = (gym.make_vec(f"pareto/Building{m}-v0", num_envs=8) for m in (3, 9))
    for env in (three, nine):
        env.reset(seed=5)
    rng = generator("test", "building", "groups")
    for _ in range(60):
        actions = rng.uniform(-1, 1, (8, 15))
        whole, parts = three.step(actions)[1], nine.step(actions)[1].reshape(8, 3, 3)
        np.testing.assert_allclose(whole[:, :2], parts.mean(axis=-1)[:, :2], atol=1e-5)
        # loads of different floors may cancel, never the other way round
        assert (whole[:, 2] >= parts[:, 2].mean(axis=-1) - 1e-5).all()
    assert three.objectives.names == ("comfort", "energy", "ramping")
    assert nine.objectives.names[::3] == ("comfort_bottom", "energy_bottom", "ramping_bottom")


def test_wishes_conflict():
    """Doing nothing spends nothing; thermostats buy comfort; tight ones pay for it in ramping."""
    env = gym.make_vec("pareto/Building3-v0", num_envs=16)

    def week(gain):
        obs, _ = env.reset(seed=11)
        total = np.zeros((16, 3))
        for _ in range(480):
            obs, reward, terminated, truncated, _ = env.step(np.clip(-gain * 5 * obs[:, :15], -1, 1))
            total += reward
        assert truncated.all()
        assert not terminated.any()
        return total.mean(axis=0)

    idle, gentle, tight, violent = week(0.0), week(0.2), week(1.0), week(5.0)
    np.testing.assert_array_equal(idle[1:], [480, 480])
    assert idle[0] < 400 < gentle[0] < tight[0] <= 480
    assert idle[1] > gentle[1] > tight[1] > violent[1]
    assert idle[2] > gentle[2] > tight[2] > violent[2]


def test_unknown_groups_name_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'floors'"):
        gym.make("pareto/Building9-v0", groups="floor")
