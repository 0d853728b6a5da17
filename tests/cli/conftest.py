"""Commands are called in this process; one test starts real ones."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from pareto.cli import main


@pytest.fixture
def pareto(capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    """A function that runs `pareto ARGUMENTS...` and returns (exit code, standard output, standard error)."""

    def call(*arguments: object) -> tuple[int, str, str]:
        try:
            code = main([str(a) for a in arguments])
        except SystemExit as error:  # argparse leaves this way
            code = error.code if isinstance(error.code, int) else 1
        output = capsys.readouterr()
        return code, output.out, output.err

    return call
