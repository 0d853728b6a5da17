"""Whether code that comes with a model may run: only when the command line of this very command says so.

The answer goes to workers by environment. It is never read from a config, so that neither a study nor a run folder can ask.
"""

from __future__ import annotations

import os

VARIABLE = "PARETO_TRUST_REMOTE_CODE"


def is_given() -> bool:
    """Whether the command line allows code that comes with a model."""
    return os.environ.get(VARIABLE) == "1"


def say(trusted: bool) -> None:
    """Tell this process and all it starts from now on what the command line said."""
    os.environ.pop(VARIABLE, None)
    if trusted:
        os.environ[VARIABLE] = "1"
