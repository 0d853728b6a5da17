"""Observations and actions of every kind of space as arrays."""

import json

import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.vector.utils import batch_space, concatenate, create_empty_array

from pareto.errors import ConfigError, ShapeError
from pareto.models.spaces import Actions, Observations, space_from_json, space_to_json

MIXED = spaces.Dict(
    a=spaces.Box(-1, 1, (2, 2), dtype=np.float64),
    b=spaces.MultiDiscrete([2, 3]),
    c=spaces.Tuple([spaces.Discrete(3, start=4), spaces.MultiBinary(2)]),
)


def test_a_batch_is_encoded_like_its_members():
    MIXED.seed(0)
    members = [MIXED.sample() for _ in range(4)]
    observations = Observations(MIXED)
    batch = concatenate(MIXED, members, create_empty_array(MIXED, 4))
    assert batch_space(MIXED, 4).contains(batch)
    rows = observations.encode(batch, 4)
    assert rows.shape == (4, 4 + 5 + 3 + 2)
    assert rows.dtype == np.float32
    np.testing.assert_array_equal(rows, [observations.encode_one(m) for m in members])
    # one by hand: the box row by row, 1 of 2 and 2 of 3 one-hot, 5 is the second of 4, 5, 6
    one = {"a": np.array([[0.5, -0.5], [0.0, 1.0]]), "b": np.array([1, 2]), "c": (5, np.array([1, 0]))}
    np.testing.assert_array_equal(
        observations.encode_one(one), [0.5, -0.5, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 0]
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64])
def test_a_vector_alone_is_encoded_like_a_batch_of_one(dtype):
    observations = Observations(spaces.Box(-9, 9, (3,), dtype=dtype))
    seen = np.array([1, -2, 3], dtype=dtype)
    alone = observations.encode_one(seen)
    np.testing.assert_array_equal(alone, observations.encode(seen[None], 1)[0])
    assert alone.dtype == np.float32
    seen[0] = 7
    assert alone[0] == 1  # an environment may write its next observation into the same array


def test_pixels_stay_pixels():
    observations = Observations(spaces.Box(0, 255, (4, 5, 3), dtype=np.uint8))
    assert (observations.shape, observations.dtype) == ((4, 5, 3), np.uint8)
    assert observations.encode(np.full((2, 4, 5, 3), 7, dtype=np.uint8), 2).dtype == np.uint8


def test_actions():
    np.testing.assert_array_equal(Actions(spaces.Discrete(3, start=-1)).decode(np.array([0, 2]), 2), [-1, 1])
    joint = Actions(spaces.MultiDiscrete([2, 3]))
    assert joint.size == 6
    np.testing.assert_array_equal(joint.decode(np.array([0, 4, 5]), 3), [[0, 0], [1, 1], [1, 2]])
    assert Actions(spaces.MultiBinary(3)).size == 8
    # first axis [0, 10]: -1 -> 0, 0 -> 5, 2 is clipped to 1 -> 10; the second has no bounds and passes as it is
    box = Actions(spaces.Box(np.array([0, -np.inf], np.float32), np.array([10, np.inf], np.float32)))
    np.testing.assert_array_equal(
        box.decode(np.array([[-1, 3], [0, -3], [2, 0.5]]), 3), [[0, 3], [5, -3], [10, 0.5]]
    )


def test_messages():
    with pytest.raises(
        ShapeError, match=r"expected actions of shape \(2,\), integers; got \(2,\) of dtype float64"
    ):
        Actions(spaces.Discrete(3)).decode(np.array([0.0, 1.0]), 2)
    with pytest.raises(ConfigError, match="has 1048576 combinations, more than 4096"):
        Actions(spaces.MultiBinary(20))
    with pytest.raises(ConfigError, match="actions must be Discrete, Box"):
        Actions(spaces.Dict(a=spaces.Discrete(2)))
    with pytest.raises(ConfigError, match="observations must be numbers"):
        Observations(spaces.Text(5))


@pytest.mark.parametrize(
    "space",
    [
        spaces.Box(-1.0, np.array([1.0, np.inf], dtype=np.float32)),
        spaces.Box(0, 255, (4, 4, 3), dtype=np.uint8),
        spaces.Box(0, np.array([10, 19], dtype=np.int32), dtype=np.int32),
        spaces.Discrete(4, start=2),
        spaces.MultiDiscrete([2, 3]),
        spaces.MultiBinary((2, 2)),
        spaces.Dict(a=spaces.Discrete(2), b=spaces.Tuple([spaces.Discrete(3), spaces.Box(-1, 1, (2,))])),
    ],
    ids=str,
)
def test_a_space_survives_being_written(space):
    assert space_from_json(json.loads(json.dumps(space_to_json(space)))) == space


def test_spaces_no_policy_uses_are_not_written():
    with pytest.raises(ConfigError, match="expected Box"):
        space_to_json(spaces.Text(5))
