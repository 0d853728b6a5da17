"""Random streams: independent of the company they keep, and as random as stated."""

import numpy as np
from scipy import stats

from envs.streams import Streams


def reference(seed, k):
    """SplitMix64 in plain integers."""
    mask = 2**64 - 1

    def mix(x):
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        return x ^ (x >> 31)

    stride = 0x9E3779B97F4A7C15
    counter = mix((mix((seed + stride) & mask) + stride) & mask)
    return [(mix((counter + i * stride) & mask) >> 11) / 2**53 for i in range(1, k + 1)]


def test_draws_equal_the_integer_reference():
    seeds = [0, 1, 7, 2**40, 2**63]
    np.testing.assert_array_equal(Streams(seeds).uniforms(5), [reference(s, 5) for s in seeds])


def test_the_mixer_is_splitmix64():
    """The first outputs for seed 1234567 that the algorithm's other implementations publish."""
    streams = Streams([0])
    streams.counters[:] = 1234567
    published = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431]
    np.testing.assert_array_equal(streams.uniforms(4)[0], [(x >> 11) / 2**53 for x in published])


def test_a_stream_does_not_depend_on_the_batch_or_on_how_it_is_drawn():
    alone = Streams([5]).uniforms(6)[0]
    together = Streams([3, 4, 5, 6])
    drawn = [together.uniforms(2)[2], together.at(np.array([1, 2])).uniforms(3)[1], together.uniforms(1)[2]]
    np.testing.assert_array_equal(np.concatenate(drawn), alone)
    # a window of a window advances what it shows and nothing else
    inner = together.at(np.array([3, 0])).at(np.array([1]))
    first = inner.uniforms(1)[0, 0]
    assert first == Streams([3]).uniforms(4)[0, 3]
    assert len(inner) == 1


def test_normals_are_normal_and_uncorrelated():
    x = Streams(range(4000)).normals(5)
    assert x.shape == (4000, 5)
    assert stats.kstest(x.ravel(), "norm").pvalue > 0.01
    off_diagonal = np.corrcoef(x.T)[~np.eye(5, dtype=bool)]
    assert np.abs(off_diagonal).max() < 0.08
    neighbours = np.corrcoef(x[:-1, 0], x[1:, 0])[0, 1]
    assert abs(neighbours) < 0.06
