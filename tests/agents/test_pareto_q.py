"""Pareto Q-learning: sets by hand, and exact fronts, those inside dents included."""

import numpy as np
import pytest

from pareto.agents.pareto_q import ParetoQ
from pareto.agents.value_sets import ValueSets, undominated
from pareto.cells import FitContext
from pareto.errors import ConfigError
from pareto.models.actors import load_actor
from tests.agents.small import sea


def test_undominated_rows():
    rows = np.array([[1.0, 3], [2, 2], [1, 3], [1, 2], [3, 0]])
    np.testing.assert_array_equal(undominated(rows), [[1, 3], [2, 2], [3, 0]])


def test_sets_of_two_states_by_hand():
    """From a: 0 ends with (1, 0); 1 costs (0, -1) and leads to b. From b: 0 ends with (4, 0), 1 goes back to a for (0, -1).

    At gamma 1/2: ND(b) holds (4, 0), which dominates what going back gives: (0, -1) + (1, 0)/2 or less. So ND(a) is
    (1, 0) and (0, -1) + (4, 0)/2 = (2, -1).
    """
    sets = ValueSets(2, 2, 0.5)
    for state, action, reward, after in (
        (b"a", 0, (1, 0), None),
        (b"a", 1, (0, -1), b"b"),
        (b"b", 1, (0, -1), b"a"),
        (b"b", 0, (4, 0), None),
    ):
        sets.learn(state, action, np.array(reward, dtype=float), after)
    sets.solve(10)
    np.testing.assert_array_equal(sets.sets[b"a"], [[1, 0], [2, -1]])
    assert sets.policy(b"a", np.array([2.0, -1])) == {b"a": 1, b"b": 0}
    assert sets.policy(b"a", np.array([1.0, 0])) == {b"a": 0}


@pytest.mark.parametrize(
    ("env_id", "steps", "hypervolume"),
    [("pareto/DeepSeaTreasureConcave-v0", 15_000, 3688.377), ("pareto/FruitTree-v0", 4_000, 46034.802)],
)
def test_exact_fronts(tmp_path, env_id, steps, hypervolume):
    """Hypervolumes of MO-Gymnasium's own fronts at gamma 0.99; a linear method reaches 3391.57 on the concave one."""
    task = sea(id=env_id)
    method = ParetoQ(total_steps=steps)
    (cell,) = method.plan(task, [], [0])
    folder = tmp_path / "cell"
    folder.mkdir()
    fitted = method.train(cell, task, FitContext(folder, tmp_path))
    assert fitted.cost.env_steps == steps
    from pareto.front import hypervolume as volume

    values = np.concatenate([task.play(load_actor(p.folder), "heldout").returns for p in fitted.policies])
    assert volume(values, task.facts.ref_point) == pytest.approx(hypervolume, abs=0.01)


def test_chance_is_refused(tmp_path):
    method = ParetoQ(total_steps=5000)
    task = sea(id="pareto/ResourceGathering-v0")
    (cell,) = method.plan(task, [], [0])
    with pytest.raises(ConfigError, match="pareto_q needs a deterministic environment"):
        method.train(cell, task, FitContext(tmp_path, tmp_path))
