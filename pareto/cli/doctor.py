"""`pareto doctor`: versions, device, threads, and what is missing for which feature."""

from __future__ import annotations

import argparse
import os
import re
from collections.abc import Iterator

HELP = "versions, device, threads, and what is missing for which feature"
EXAMPLES = "example:\n  pareto doctor"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(sections=[_system, _packages, _extras, _device, _environments, _data])


def run(args: argparse.Namespace) -> int:
    healthy = True
    for section in args.sections:
        for name, fact, good in section():
            print(f"{'  ' if good else '! '}{name:<16} {fact}")
            healthy &= good
    print("all that is needed is there" if healthy else "lines with ! need attention")
    return 0 if healthy else 1


Line = tuple[str, str, bool]
"""What was looked at, what was found, whether it will do."""


def _system() -> Iterator[Line]:
    import platform
    import shutil
    from importlib.metadata import version

    yield "pareto-align", version("pareto-align"), True
    yield "python", f"{platform.python_version()} on {platform.platform()}", True
    free_gib = shutil.disk_usage(".").free / 2**30
    yield "disk", f"{free_gib:.1f} GiB free here", free_gib > 1


def _packages() -> Iterator[Line]:
    for extra, name, found, lack in _requirements():
        if not extra:
            yield name, lack or found, not lack


def _extras() -> Iterator[Line]:
    """One line per optional extra; a missing one is no fault."""
    lacks: dict[str, list[str]] = {}
    for extra, name, _, lack in _requirements():
        if extra:
            lacks.setdefault(extra, []).extend([name] if lack else [])
    for extra, names in lacks.items():
        hint = f"without {', '.join(names)}; pip install 'pareto-align[{extra}]'"
        yield f"extra {extra}", hint if names else "complete", True


def _requirements() -> Iterator[tuple[str, str, str, str]]:
    """(extra or "", package, version found, what is wrong or "") of everything this distribution may use."""
    from importlib.metadata import PackageNotFoundError, requires, version

    from packaging.requirements import Requirement

    for text in requires("pareto-align") or []:
        requirement = Requirement(text)
        extra = re.search(r"extra == ['\"]([\w-]+)['\"]", text)
        try:
            found = version(requirement.name)
        except PackageNotFoundError:
            found = ""
        will_do = bool(found) and requirement.specifier.contains(found, prereleases=True)
        lack = "" if will_do else f"{found or 'missing'}; needs {requirement.specifier or 'any version'}"
        yield extra[1] if extra else "", requirement.name, found, lack


def _device() -> Iterator[Line]:
    import torch

    if torch.cuda.is_available():
        for i in range(torch.cuda.device_count()):
            properties = torch.cuda.get_device_properties(i)
            yield f"cuda:{i}", f"{properties.name}, {properties.total_memory / 2**30:.0f} GiB", True
    else:
        mps = torch.backends.mps.is_available()
        yield "device", "mps" if mps else "cpu (torch sees no CUDA device)", True
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    set_by = (
        f"OMP_NUM_THREADS={os.environ['OMP_NUM_THREADS']}" if "OMP_NUM_THREADS" in os.environ else "unset"
    )
    yield (
        "threads",
        f"{cores} cores usable; torch would use {torch.get_num_threads()} ({set_by}); a study uses engine.threads",
        True,
    )


def _environments() -> Iterator[Line]:
    from pareto.env_loader import load_envs
    from pareto.errors import MachineError

    try:
        module = load_envs()
    except MachineError as error:
        yield "environments", str(error), False
    else:
        yield "environments", f"{module.__name__} from {os.path.dirname(str(module.__file__))}", True


def _data() -> Iterator[Line]:
    folder = os.environ.get("PARETO_DATA")
    if folder is None:
        yield "PARETO_DATA", "unset; relative data paths are looked for in ../shared/data", True
    else:
        there = os.path.isdir(folder)
        yield "PARETO_DATA", folder if there else f"{folder} is not a folder", there
