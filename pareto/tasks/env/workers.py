"""Copies of a slow environment in another process."""

from __future__ import annotations

import multiprocessing
import traceback
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from gymnasium.vector.utils import CloudpickleWrapper

from pareto.errors import MachineError, ParetoError
from pareto.objectives import Objective, Objectives
from pareto.tasks.env.sources import Source
from pareto.tasks.env.vectors import Step, VectorEnvs


class Remote(VectorEnvs):
    """A group of copies that lives in a process of its own, started at once; `ready` waits until it stands.

    Args:
        source: as for `pareto.tasks.env.opening.open_envs`, which the process calls; so are the others.
        copies: of this group.
        options: of the environment.
        objectives: where the environment does not say.
    """

    def __init__(
        self,
        source: Source,
        copies: int,
        options: Mapping[str, Any],
        objectives: Objectives | Sequence[Objective | str] | None,
    ) -> None:
        # a fresh interpreter: forking one in which torch has threads can hang
        context = multiprocessing.get_context("spawn")
        self.copies = copies
        self._pipe, theirs = context.Pipe()
        order = partial(_open, source, copies, options=dict(options), objectives=objectives)
        # functions made in a notebook travel as well
        wrapped = CloudpickleWrapper(order)  # type: ignore[arg-type]  # it wraps any function
        self._process = context.Process(target=_serve, args=(theirs, wrapped), daemon=True)
        self._process.start()
        theirs.close()

    def ready(self) -> Remote:
        """This group, once its environments are open.

        Raises:
            ParetoError: what opening them raised there.
        """
        self.objectives, self.observations, self.actions = self._receive()
        return self

    def reset(self, seeds: Sequence[int]) -> np.ndarray:
        """See `VectorEnvs`."""
        return self._ask("reset", list(seeds))

    def restart(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        return self._ask("restart", mask)

    def begin_step(self, actions: np.ndarray) -> None:
        """See `VectorEnvs`."""
        self._send("step", actions)

    def end_step(self) -> Step:
        """See `VectorEnvs`."""
        return Step(*self._receive())

    def rest(self, mask: np.ndarray) -> np.ndarray:
        """See `VectorEnvs`."""
        return self._ask("rest", mask)

    def state_dict(self) -> dict[str, np.ndarray] | None:
        """See `VectorEnvs`."""
        return self._ask("state_dict")

    def load_state_dict(self, saved: dict[str, np.ndarray]) -> np.ndarray:
        """See `VectorEnvs`."""
        return self._ask("load_state_dict", saved)

    def picture(self) -> np.ndarray:
        """See `VectorEnvs`."""
        return self._ask("picture")

    def close(self) -> None:
        """See `VectorEnvs`."""
        if self._process.is_alive() and not self._pipe.closed:
            self._send("close")
            self._process.join(timeout=10)
        if self._process.is_alive():
            self._process.terminate()
        self._pipe.close()

    def _ask(self, name: str, *args: Any) -> Any:
        self._send(name, *args)
        return self._receive()

    def _send(self, name: str, *args: Any) -> None:
        try:
            self._pipe.send((name, args))
        except OSError as error:
            raise MachineError(f"the process that steps the environments is gone: {error}") from error

    def _receive(self) -> Any:
        try:
            fine, answer = self._pipe.recv()
        except (EOFError, OSError) as error:
            raise MachineError(
                f"the process that steps the environments died (exit code {self._process.exitcode}); "
                "step them in this process (workers: 0) to see why"
            ) from error
        if not fine:
            kind, args = answer
            raise kind.__new__(kind, *args)
        return answer


def _open(*args: Any, **kwargs: Any) -> VectorEnvs:
    from pareto.tasks.env.opening import open_envs  # it imports this module

    return open_envs(*args, **kwargs)


def _serve(pipe: Connection, open_copies: Callable[[], VectorEnvs]) -> None:
    """Open the copies and answer requests until told to close; an error travels back and ends nothing else."""
    try:
        envs = open_copies()
    except Exception as error:  # an environment may raise anything; it is raised where it was asked for
        pipe.send((False, _portable(error)))
        return
    with envs:
        pipe.send((True, (envs.objectives, envs.observations, envs.actions)))
        while True:
            try:
                name, args = pipe.recv()
            except (EOFError, KeyboardInterrupt):
                return
            if name == "close":
                return
            try:
                pipe.send((True, getattr(envs, name)(*args)))
            except Exception as error:  # likewise
                pipe.send((False, _portable(error)))


def _portable(error: Exception) -> tuple[type[ParetoError], tuple[Any, ...]]:
    """What an error is made of: not every exception survives the way between processes."""
    if isinstance(error, ParetoError):
        return type(error), error.args
    return ParetoError, (
        "an environment failed in its process:\n" + "".join(traceback.format_exception(error)),
    )
