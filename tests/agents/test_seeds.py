"""A machine that counts goes to its end through a kill: what is told, saved and taken up again."""

import pytest
import torch

from pareto.agents.seeds import to_the_end
from pareto.cells import FitContext


class Counter:
    """Counts to 7, ten environment steps a move."""

    def __init__(self, dies_at=None):
        self.count, self.dies_at = 0, dies_at

    finished = property(lambda self: self.count >= 7)
    steps = property(lambda self: 10 * self.count)

    def step(self):
        if self.count == self.dies_at:
            raise KeyboardInterrupt
        self.count += 1

    def figures(self):
        return {"count": self.count}

    def state(self):
        return {"count": torch.tensor([self.count])}, {"again": self.count}

    def load(self, tensors, facts):
        assert int(tensors["count"]) == facts["again"]
        self.count = facts["again"]


def test_it_is_told_logged_and_taken_up_at_the_last_checkpoint(tmp_path):
    told, logged = [], []
    context = FitContext(
        tmp_path / "a",
        tmp_path / "b",
        progress=lambda done, total, figures: told.append((done, total)),
        log=lambda figures: logged.append((figures["step"], figures["count"], figures["env_steps"])),
    )
    with pytest.raises(KeyboardInterrupt):
        to_the_end(Counter(dies_at=5), context, 65, checkpoint_every=2, log_every=3)
    assert logged == [(3, 3, 30)]
    machine = Counter()
    to_the_end(machine, context, 65, checkpoint_every=2, log_every=3)
    # checkpoints at 2 and 4, none at the end; the second run begins at 4
    assert machine.count == 7
    assert logged == [(3, 3, 30), (6, 6, 60), (7, 7, 70)]
    assert told == [(10 * k, 65) for k in (0, 1, 2, 3, 4, 5, 4, 5, 6)] + [(65, 65)]
    kept = sorted(path.name for path in (tmp_path / "b").iterdir())
    assert kept == ["step-000000000004", "step-000000000006"]
