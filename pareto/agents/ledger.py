"""True environment steps: what was taken for what, and what the rest still pays for."""

from __future__ import annotations

from dataclasses import dataclass

PORTION = 16
"""Fresh episodes that a policy plays before the budget is looked at again."""


@dataclass
class Ledger:
    """True environment steps of a search within a budget.

    Args:
        total: the budget.
        limit: steps of the longest episode there can be; None where that is not known.
        training: steps taken to learn.
        selection: steps of episodes that decided what is kept.
        episode: steps per episode when those were played last; 0 before the first.
    """

    total: int
    limit: int | None
    training: int = 0
    selection: int = 0
    episode: float = 0.0

    @property
    def taken(self) -> int:
        """All steps."""
        return self.training + self.selection

    @property
    def left(self) -> int:
        """Steps of the budget that are not taken."""
        return self.total - self.taken

    @property
    def likely(self) -> float:
        """Steps that an episode is likely to take: as many as last time; before the first, as many as it can."""
        return self.episode or float(self.limit or 0)

    def affords(self, episodes: int) -> int:
        """How many policies can play so many episodes each, even if all of these last to the limit.

        Where no limit is known, those played last stand in for it.
        """
        longest = self.limit or self.episode
        return max(0, int(self.left // (episodes * longest))) if longest else self.left

    def select(self, episodes: int, steps: int) -> None:
        """Count episodes that decided something."""
        self.selection += steps
        self.episode = steps / episodes

    def to_json(self) -> dict[str, float]:
        """What changes."""
        return {"training": self.training, "selection": self.selection, "episode": self.episode}
