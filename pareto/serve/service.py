"""What all routes share: the run, what is loaded of it, the scheduler, what is counted."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from pareto.errors import ArtifactError, ParetoError, UsageError
from pareto.policy_set import PolicySet
from pareto.serve.menu import Menu
from pareto.serve.metrics import Metrics
from pareto.serve.refusal import Refusal
from pareto.serve.scheduler import Scheduler
from pareto.serve.schema import ParetoFields
from pareto.serve.settings import Settings
from pareto.serve.wishes import Wish, wish_of


@final
class Service:
    """One run at work.

    Args:
        run: the policy set; nothing is ever written to it.
        settings: of the server.

    Attributes:
        ready: whether requests are answered: something is loaded and nothing is stopping.
    """

    def __init__(self, run: PolicySet, settings: Settings) -> None:
        self.run, self.settings = run, settings
        self.name = settings.name or str(run.content.get("study") or run.folder.resolve().name)
        self.metrics, self.menu = Metrics(), Menu(run, settings)
        self.scheduler = Scheduler(settings.rows, settings.limits.queue, self.metrics)
        self.ready = False

    @property
    def acts(self) -> bool:
        """Whether the policies act in an environment and write no text."""
        return bool(len(self.run)) and all(record.kind == "agent" for record in self.run)

    def start(self) -> None:
        """Load what is served by default and begin to answer; once is enough.

        Raises:
            ParetoError: the default method or weights are none that the run can serve.
        """
        if self.ready:
            return
        if not self.acts:
            self.menu.serve(self.menu.default())
            self.scheduler.start()
        self.ready = True

    def drain(self) -> None:
        """Take nothing new."""
        self.ready = False
        self.scheduler.drain()

    def stop(self) -> None:
        """End what is left."""
        self.drain()
        if not self.acts:
            self.scheduler.stop()

    def wish(
        self,
        model: str,
        fields: ParetoFields | None,
        header: str | None,
        token_weights: Mapping[str, float] | None,
    ) -> Wish:
        """What a request wants; see `wish_of`."""
        return wish_of(self.name, model, fields, header, token_weights, self.settings.weights)


def refused(error: ParetoError, wish: Wish) -> Refusal:
    """A fault of the run's own as an answer: 400 for what the request may change, 503 for what it may not."""
    if isinstance(error, ArtifactError) or not isinstance(error, UsageError):
        return Refusal(503, f"the run cannot serve this at present: {error}", code=type(error).__name__)
    return Refusal(400, str(error), param=wish.source, code=type(error).__name__)
