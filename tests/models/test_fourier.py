"""A network over waves: what goes in by hand, and neighbours it can tell apart."""

import pytest
import torch

from pareto.errors import ConfigError
from pareto.models.policy_networks.fourier import OCTAVES, fourier


def test_waves_by_hand():
    """At 2 the angles are pi/2, pi, 2 pi, ...: sines 1, 0, 0, ..., cosines 0, -1, 1, ..."""
    waves = fourier((1,), 1)[0](torch.tensor([[2.0]]))
    sines, cosines = [1.0] + [0.0] * (OCTAVES - 1), [0.0, -1.0] + [1.0] * (OCTAVES - 2)
    by_hand = [2.0, *(x for pair in zip(sines, cosines) for x in pair)]
    torch.testing.assert_close(waves, torch.tensor([by_hand]), atol=1e-4, rtol=0)


def test_it_learns_to_tell_neighbours_apart():
    """Sixteen places 1/8 apart with alternating labels: what a smooth perceptron of the same size does not get in as many steps."""
    torch.manual_seed(0)
    places = torch.arange(16.0)[:, None] / 8
    labels = torch.arange(16) % 2
    smooth = torch.nn.Sequential(
        torch.nn.Linear(1, 64),
        torch.nn.Tanh(),
        torch.nn.Linear(64, 64),
        torch.nn.Tanh(),
        torch.nn.Linear(64, 2),
    )
    right = []
    for network in (fourier((1,), 2), smooth):
        adam = torch.optim.Adam(network.parameters(), 2e-3)
        for _ in range(100):
            adam.zero_grad()
            torch.nn.functional.cross_entropy(network(places), labels).backward()
            adam.step()
        right.append(int((network(places).argmax(1) == labels).sum()))
    assert right[0] == 16
    assert right[1] < 16


def test_pictures_are_refused():
    with pytest.raises(ConfigError, match="nature_cnn"):
        fourier((8, 8, 3), 2)
