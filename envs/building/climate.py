"""Weather from formulas: sun by geometry, air by seasons and the hour, clouds and spells by autoregression.

Nothing is read from weather files. Deterministic parts are tabled for every quarter of an hour of a year of 365 days in
solar time; chance adds two standard normals a step and copy.

    outdoor air   = 18 + 11 cos(2 pi (day - 200)/365) + 7.5 cos(2 pi (hour - 15)/24) + 3 a        (deg C)
    cloud cover N = clip(0.35 + 0.3 c, 0, 1),   sunshine factor 1 - 0.75 N^3.4
    a, c          = first-order autoregressions of variance 1 with time constants of 24 h and 6 h

Sun at latitude 31.8 deg: declination 23.45 sin(360 (284 + day)/365) deg, hour angle 15 (hour - 12) deg; direct normal
irradiance 1353 x 0.7^(m^0.678) W/m2 at air mass m = 1/sin(elevation); a tenth of it again as diffuse light from the sky,
half of which a wall sees.

Source: declination Cooper (1969); direct irradiance Meinel, Meinel (1976); clouds Kasten, Czeplak (1980). Temperatures
are round numbers for a warm dry climate like that of El Paso.
"""

from __future__ import annotations

import numpy as np

STEPS_PER_DAY = 96
STEP_S = 900.0
DAYS = 365
LATITUDE = np.deg2rad(31.8)
FACADES = ("north", "east", "south", "west", "roof")
AIR_PERSISTENCE, CLOUD_PERSISTENCE = np.exp(-STEP_S / (3600 * np.array([24.0, 6.0])))


def _hours() -> np.ndarray:
    return np.arange(STEPS_PER_DAY) * 24 / STEPS_PER_DAY


def elevation(day: np.ndarray, hour: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Where the sun is: components towards east, north and up of the unit vector to it.

    Args:
        day: day of the year, 1 to 365.
        hour: solar time, 12 when the sun is highest.
    """
    declination = np.deg2rad(23.45) * np.sin(2 * np.pi * (284 + day) / 365)
    angle = np.deg2rad(15.0) * (hour - 12.0)
    east = -np.cos(declination) * np.sin(angle)
    north = np.cos(LATITUDE) * np.sin(declination) - np.sin(LATITUDE) * np.cos(declination) * np.cos(angle)
    up = np.sin(LATITUDE) * np.sin(declination) + np.cos(LATITUDE) * np.cos(declination) * np.cos(angle)
    return east, north, up


def clear_sky() -> np.ndarray:
    """[365 * 96, 5] W/m2 on walls facing north, east, south, west and on a flat roof, without clouds."""
    east, north, up = elevation(np.arange(1, DAYS + 1)[:, None], _hours())
    direct = np.where(up > 0, 1353 * 0.7 ** (np.maximum(up, 1e-2) ** -0.678), 0.0)
    cosines = np.stack([north, east, -north, -east, up], axis=-1)
    sky = np.array([0.5, 0.5, 0.5, 0.5, 1.0])
    return (direct[..., None] * (np.maximum(cosines, 0.0) + 0.1 * sky)).reshape(-1, len(FACADES))


def mean_air_c() -> np.ndarray:
    """[365 * 96] deg C, outdoor air without spells."""
    season = 11 * np.cos(2 * np.pi * (np.arange(1, DAYS + 1)[:, None] - 200) / 365)
    return (18 + season + 7.5 * np.cos(2 * np.pi * (_hours() - 15) / 24)).reshape(-1)


def sunshine(c: np.ndarray) -> np.ndarray:
    """Share of the clear sky's irradiance that clouds let through."""
    return 1 - 0.75 * np.clip(0.35 + 0.3 * c, 0.0, 1.0) ** 3.4


def persist(spell: np.ndarray, noise: np.ndarray) -> np.ndarray:
    """The next values of the autoregressions.

    Args:
        spell: [n, 2], a and c.
        noise: [n, 2], standard normal.
    """
    keep = np.array([AIR_PERSISTENCE, CLOUD_PERSISTENCE])
    return keep * spell + np.sqrt(1 - keep**2) * noise
