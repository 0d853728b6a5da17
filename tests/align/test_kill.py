"""SIGKILL a real sweep of language-model policies: running it again gives what an uninterrupted one gives."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

CONFIG = """
study: kill
task:
  kind: lab
  prompts: 20
  heldout: 4
  slots: 3
  choices: 3
  pairs: 1000
  reference: {hidden: 16, layers: 1, heads: 2, corpus: 1000, train: {steps: 80, batch_size: 32, lr: 1e-2, checkpoint_every: 20}}
method:
  name: modpo
  beta: 1.0
  adapter: {kind: lora, r: 4, alpha: 8}
  training: {steps: 150, batch_size: 32, lr: 3e-3, checkpoint_every: 25, log_every: 10}
weights: {kind: cells, n: 3}
engine: {device: cpu}
"""


def content(folder: Path) -> str:
    return json.loads((folder / "front.json").read_text())["provenance"]["content_sha256"]


@pytest.mark.slow
def test_a_killed_sweep_resumes_to_the_same_content(tmp_path: Path) -> None:
    (tmp_path / "kill.yaml").write_text(CONFIG)
    command = [Path(sys.executable).parent / "pareto", "sweep", "kill.yaml", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}

    def start(folder: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen(
            [*command, folder],
            cwd=tmp_path,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    whole = start("whole")
    output, _ = whole.communicate()
    assert whole.returncode == 0, output.decode()

    draw = np.random.default_rng(int.from_bytes(os.urandom(4), "little"))
    kills = 0
    for delay in draw.uniform(0.5, 8.0, size=3):
        killed = start("killed")
        assert killed.stdout is not None
        killed.stdout.readline()  # the plan is made
        time.sleep(delay)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        kills += killed.returncode == -signal.SIGKILL
    last = start("killed")
    output, _ = last.communicate()
    assert last.returncode == 0, output.decode()
    assert kills >= 1
    assert content(tmp_path / "killed") == content(tmp_path / "whole")
