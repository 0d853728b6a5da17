"""The sole knower of where the environments live: `pareto.envs` in an installed wheel, `envs` in a checkout."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from types import ModuleType

from pareto.errors import ArtifactError, MachineError


def load_envs() -> ModuleType:
    """Import this suite's environments package and register its gymnasium ids.

    Raises:
        MachineError: another distribution's `envs` stands where ours should be.
    """
    name = "pareto.envs" if importlib.util.find_spec("pareto.envs") else "envs"
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise MachineError(
            "the environments were found neither as pareto.envs (installed wheel) nor as envs (checkout); "
            "install the wheel or run from the root of the checkout"
        ) from error
    if getattr(module, "SUITE", None) != "pareto-align":
        raise MachineError(
            f"expected this suite's environments under {name!r}, found another package at "
            f"{getattr(module, '__file__', '?')}; uninstall the distribution 'envs' or run from the root of the checkout"
        )
    module.register_all()
    return module


def refuse_unimported(env_id: object, place: str) -> None:
    """Refuse an environment of a module that nobody here has imported: what a run folder names must not run code.

    Args:
        env_id: as the run folder has it, "module:Name-v0" among others.
        place: where it stands.

    Raises:
        ArtifactError: with the module and how to allow it.
    """
    module, colon, _ = str(env_id).rpartition(":")
    if colon and module not in sys.modules:
        raise ArtifactError(
            f"{place}: the run's environment {env_id!r:.200} lies in the module {module!r:.200}, and a run folder imports nothing "
            f"by itself; if you trust the module, say --import {module:.200}"
        )
