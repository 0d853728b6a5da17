"""README's examples of serving, run as they stand against a server whose port alone is another."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.serve.conftest import serving

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
SECTION = README.split("\n## Serve\n")[1].split("\n## ")[0]
BLOCKS = re.findall(r"```(bash|python)\n(.*?)```", SECTION, re.DOTALL)


@pytest.fixture(scope="module")
def demo(adapter_run):
    with serving(adapter_run, name="demo") as client:
        yield client


def test_there_are_examples_of_every_kind():
    assert [kind for kind, _ in BLOCKS] == ["bash", "python", "python"]
    assert "from openai import" in BLOCKS[1][1]


def test_curl(demo):
    if shutil.which("curl") is None:
        pytest.skip("no curl on this machine")
    program = BLOCKS[0][1].replace("127.0.0.1:8000", f"127.0.0.1:{demo.port}")
    done = subprocess.run(["bash", "-euc", program], capture_output=True, text=True, check=True)
    decoder, found, at = json.JSONDecoder(), [], 0
    while at < len(done.stdout.rstrip()):
        value, at = decoder.raw_decode(done.stdout, at)
        found.append(value)
    reply, selected = found
    assert reply["pareto"]["weights_used"] == pytest.approx({"helpful": 0.7, "brief": 0.3})
    assert reply["choices"][0]["message"]["role"] == "assistant"
    assert selected["policy"]["id"] == "h"  # 2 * 1, against 1.5 and 1


@pytest.mark.parametrize("i", [1, 2])
def test_python(demo, capsys, i):
    if i == 1:
        pytest.importorskip("openai", reason="the official client is not installed")
    program = BLOCKS[i][1].replace("127.0.0.1:8000", f"127.0.0.1:{demo.port}")
    names = {}
    exec(compile(program, "README.md", "exec"), names)
    said = capsys.readouterr().out
    if i == 1:
        assert said.count("\n") >= 3
        assert said.startswith("0.9 ")
        names["client"].close()
    else:
        assert "'helpful': 0.75, 'brief': 0.25" in said
