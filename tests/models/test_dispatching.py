"""Networks over servers: symmetry, the start at the greedy rule, and what is refused."""

import numpy as np
import pytest
import torch

from envs.offloading import SYSTEMS, OffloadingVector
from envs.offloading.frozen import SCALES
from envs.offloading.heuristics import Greedy
from pareto.errors import ConfigError, ShapeError
from pareto.models.actors import Conditioned, load_actor
from pareto.models.actors.dispatcher import DispatcherActor
from pareto.models.dispatching import WIDTH, look, make_scorer, policy_logits
from tests.agents.small import seeded

SCALE = np.array(SCALES)


@pytest.fixture(scope="module")
def observations():
    """Some slots into episodes of one to eight edge servers, padded to ten."""
    config = SYSTEMS["training-6"].model_copy(
        update={"system": SYSTEMS["training-6"].system.model_copy(update={"edges": (1, 8), "max_edges": 10})}
    )
    vector = OffloadingVector(40, config=config)
    seen, _ = vector.reset(seed=5)
    for _ in range(12):
        seen, *_ = vector.step(Greedy(np.tile([0.5, 0.5], (40, 1))).act(seen))
    return seen


def preferences(n, seed=0):
    delay = np.random.default_rng(seed).random(n)
    return np.column_stack([delay, 1 - delay])


def disturbed(scorer):
    """Parameters that are not at their start."""
    with torch.no_grad():
        for parameter in scorer.parameters():
            parameter += 0.3 * torch.randn(parameter.shape, generator=seeded(parameter.numel()))
    return scorer


def test_features_are_as_many_as_said(observations):
    seen = look(observations, preferences(40), SCALE)
    assert seen.features.shape == (40, 11, WIDTH)
    assert torch.isfinite(seen.features).all()
    assert (seen.features[~seen.present] == 0).all()


@pytest.mark.parametrize("encoder", ["set", "padded"])
def test_an_untrained_dispatcher_is_the_greedy_rule(observations, encoder):
    weights = preferences(40)
    scorer = make_scorer(encoder, 8, 1, 11, seeded())
    actor = DispatcherActor(scorer, {}, SCALE, weights[0])
    busy = observations[:, 0, 0] > 0
    np.testing.assert_array_equal(
        actor.choose(observations, weights)[busy], Greedy(weights).act(observations)[busy]
    )


def test_the_order_and_number_of_servers_do_not_matter(observations):
    """Shuffled rows give shuffled scores; rows of absent servers change nothing."""
    scorer = disturbed(make_scorer("set", 8, 1, 0, seeded()))
    seen = look(observations, preferences(40), SCALE)
    scores = scorer(seen.features, seen.present)
    order = torch.randperm(11, generator=seeded(1))
    shuffled = scorer(seen.features[:, order], seen.present[:, order])
    torch.testing.assert_close(shuffled, scores[:, order], rtol=1e-5, atol=1e-5)
    alone = [i for i in range(40) if int(seen.present[i].sum()) == 3]
    short = scorer(seen.features[alone][:, :3], seen.present[alone][:, :3])
    torch.testing.assert_close(short, scores[alone][:, :3], rtol=1e-5, atol=1e-5)


def test_absent_servers_are_never_chosen(observations):
    seen = look(observations, preferences(40), SCALE)
    probabilities = policy_logits(disturbed(make_scorer("padded", 8, 1, 11, seeded())), seen, 20.0).softmax(1)
    assert (probabilities[~seen.present] == 0).all()
    torch.testing.assert_close(probabilities.sum(1), torch.ones(40))


def test_stored_dispatchers_act_alike(observations, tmp_path):
    scorer = disturbed(make_scorer("set", 8, 1, 11, seeded()))
    shape = {"encoder": "set", "hidden": 8, "servers": 11}
    actor = DispatcherActor(scorer, shape, SCALE, np.array([0.2, 0.8]))
    actor.save(tmp_path, {"kind": "agent", "actor": "dispatcher"})
    again = load_actor(tmp_path)
    draw = np.random.default_rng(0)
    np.testing.assert_array_equal(again.act(observations, draw), actor.act(observations, draw))
    assert isinstance(again, Conditioned)
    other = np.array([0.9, 0.1])
    np.testing.assert_array_equal(
        again.at(other).act(observations, draw), actor.choose(observations, np.tile(other, (40, 1)))
    )
    assert (again.at(other).act(observations, draw) != actor.act(observations, draw)).any()


def test_what_is_refused(observations):
    good = preferences(40)
    with pytest.raises(ConfigError, match="finite weights of \\(delay, energy\\)"):
        look(observations, np.where(np.arange(40)[:, None] == 3, np.nan, good), SCALE)
    with pytest.raises(ConfigError, match="zero servers"):
        look(np.full_like(observations, -1.0), good, SCALE)
    with pytest.raises(ShapeError, match="pareto/Offloading-v0"):
        look(observations[0], good, SCALE)
    seen = look(observations, good, SCALE)
    with pytest.raises(ShapeError, match="at most 7 servers, the cloud included; got 11"):
        make_scorer("padded", 8, 1, 7, seeded())(seen.features, seen.present)
