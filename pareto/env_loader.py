"""The sole knower of where the environments live: `pareto.envs` in an installed wheel, `envs` in a checkout."""

from __future__ import annotations

import importlib
import importlib.util
from types import ModuleType

from pareto.errors import MachineError


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
