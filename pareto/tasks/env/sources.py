"""From what a user names (an id, or a function) to gymnasium environments; says which package is missing."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Mapping
from typing import Any

import gymnasium as gym
from gymnasium.envs.registration import EnvSpec
from gymnasium.error import DependencyNotInstalled
from gymnasium.vector import VectorEnv

from pareto.env_loader import load_envs
from pareto.errors import ConfigError, MissingPackageError, ParetoError, did_you_mean, printable

Source = str | Callable[[], gym.Env[Any, Any] | VectorEnv[Any, Any, Any]]
"""An id known to gymnasium, ours ("pareto/Minecart-v0"), MO-Gymnasium's ("mo-hopper-v5") or of a module
("module:Name-v0"), or a function that makes an environment with every call."""

EXTRAS = {"mujoco": "mujoco", "box2d": "box2d", "pygame": "mo-gymnasium"}
"""Package that an environment asks for -> our extra that installs it."""


def spec_of(env_id: str) -> EnvSpec:
    """The entry in gymnasium's registry for an id, after loading what registers it.

    Raises:
        MissingPackageError: it is one of MO-Gymnasium's, which is not installed.
        ConfigError: nobody knows the id, or its module does not import.
    """
    ours = load_envs()
    module, colon, name = env_id.rpartition(":")
    if colon:
        try:
            importlib.import_module(module)
        except ImportError as error:
            raise ConfigError(
                f"environment {env_id!r}: the module {module!r} does not import ({error}); "
                "run where it can be imported, or set PYTHONPATH"
            ) from error
    if name not in gym.registry and importlib.util.find_spec("mo_gymnasium"):
        importlib.import_module("mo_gymnasium")
    if name in gym.registry:
        return gym.registry[name]
    twin = next((ours_id for ours_id, theirs in ours.batched.TWINS.items() if theirs == name), None)
    if not importlib.util.find_spec("mo_gymnasium") and (name.startswith("mo-") or twin):
        hint = f" ({twin}, which comes along, is the same environment)" if twin else ""
        raise MissingPackageError("mo-gymnasium", "mo-gymnasium", f"environment {env_id!r}{hint}")
    known = [k for k in gym.registry if k.startswith(("pareto/", "mo-"))]
    raise ConfigError(
        f"unknown environment {env_id!r}{did_you_mean(name, known)}; write 'module:Name-v0' for one of your own, "
        "and see: pareto list envs"
    )


def make_one(source: Source, options: Mapping[str, Any], render: bool) -> Any:
    """One environment: plain, or whatever a function makes.

    Raises:
        MissingPackageError: it needs a package that is not installed.
        ConfigError: the id is unknown or does not take the options.
    """
    if not isinstance(source, str):
        return source(**options)
    spec = spec_of(source)
    drawing = {"render_mode": "rgb_array"} if render else {}
    return _made(source, lambda: gym.make(spec, disable_env_checker=True, **drawing, **options))


def make_batch(source: str, copies: int, options: Mapping[str, Any]) -> VectorEnv[Any, Any, Any] | None:
    """The batched form of an id that has one which resets in the same step, else None."""
    spec = spec_of(source)
    if spec.vector_entry_point is None:
        return None
    return _made(
        source,
        lambda: gym.make_vec(spec, num_envs=copies, vectorization_mode="vector_entry_point", **options),
    )


def _made(env_id: str, make: Callable[[], Any]) -> Any:
    try:
        return make()
    except (DependencyNotInstalled, ModuleNotFoundError) as error:
        text = str(error).lower()
        package = next((p for p in EXTRAS if p in text), None)
        if package is None:
            raise ConfigError(f"environment {env_id!r} needs a package that is missing: {error}") from error
        raise MissingPackageError(package, EXTRAS[package], f"environment {env_id!r}") from error
    except ParetoError:
        raise
    except Exception as error:  # options of another kind than the environment's bring out anything
        raise ConfigError(
            f"environment {env_id!r} could not be made: {type(error).__name__}: {printable(error):.300}"
        ) from error
