"""`pareto steer` and `pareto export` for policies that act in an environment."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from pareto.policy_set import load
from pareto.study.config import load_study
from pareto.study.run import run_study

STUDY = {
    "study": "tiny",
    "task": {"kind": "env", "id": "pareto/DeepSeaTreasure-v0", "selection_episodes": 1, "heldout_episodes": 1,
             "max_episode_steps": 12},
    "method": {"name": "ppo_scalarized", "total_steps": 200, "ppo": {"envs": 2, "steps": 8, "hidden": [8]}},
    "weights": {"kind": "das_dennis", "divisions": 1},
    "score": {"ref_point": {"treasure": -1.0, "time": -101.0}},
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("agents") / "run"
    run_study(load_study(STUDY), root, workers=0)
    return root


def test_episodes_and_a_film(pareto, folder, tmp_path):
    film = tmp_path / "films" / "sea.gif"
    code, out, err = pareto(
        "steer", folder, "--weights", "treasure=1,time=0", "--episodes", 2, "--video", film
    )
    assert code == 0, err
    run = load(folder)
    (record,) = [r for r in run.records if r.weights == {"treasure": 1.0, "time": 0.0}]
    values = ", ".join(f"{name}={value:.6g}" for name, value in record.values.items())
    assert f"nearest measured: {record.id}, {values}" in out
    # nothing is left to chance on this map, so fresh episodes return what was measured
    assert f"mean return {values}" in out
    with Image.open(film) as image:
        frames = image.n_frames
    assert f"{film}: " in out
    assert 1 <= frames <= 13


def test_a_film_has_a_known_ending(pareto, folder):
    code, _, err = pareto("steer", folder, "--weights", "treasure=1,time=0", "--video", "sea.avi")
    assert code == 2
    assert "a video ends in one of .gif, .png, .webp; got 'sea.avi'" in err


def test_an_exported_network_acts_like_the_policy(pareto, folder, tmp_path):
    runtime = pytest.importorskip("onnxruntime", reason="runs the exported file")
    code, out, err = pareto(
        "export", folder, "--weights", "treasure=1,time=0", "--onnx", "--out", tmp_path / "net"
    )
    assert code == 0, err
    assert "policy.safetensors, policy.onnx, policy.json for treasure=1, time=0" in out
    policy = load(folder).steer({"treasure": 1.0, "time": 0.0})
    session = runtime.InferenceSession(str(tmp_path / "net" / "policy.onnx"))
    cells = np.array([[row, column] for row in range(11) for column in range(11)], dtype=np.int32)
    _, actions = session.run(None, {"observations": cells.astype(np.float32)})
    assert actions.tolist() == [policy.act(cell) for cell in cells]
    assert json.loads((tmp_path / "net" / "policy.json").read_text())["weights"] == {
        "treasure": 1.0,
        "time": 0.0,
    }
    code, _, err = pareto(
        "export", folder, "--at", "treasure >= -1, max time", "--rank", 2, "--out", tmp_path / "no"
    )
    assert code == 2
    assert "--merge, --rank and --extrapolate are for language models" in err


def test_a_network_of_ones_own_is_imported_by_name(pareto, tmp_path, monkeypatch, temporary):
    """The run folder holds a name and parameters; `--import` brings the code."""
    from pareto.errors import UnknownNameError
    from pareto.models.policy_networks import NETWORKS

    temporary(NETWORKS)
    (tmp_path / "little_nets.py").write_text(
        "import torch\n"
        "from pareto.models.policy_networks import NETWORKS\n"
        "@NETWORKS.register('little', source='test')\n"
        "def little(shape, n):\n"
        "    return torch.nn.Linear(shape[0], n)\n"
    )
    monkeypatch.chdir(tmp_path)
    method = {
        "name": "ppo_scalarized",
        "total_steps": 64,
        "ppo": {"envs": 2, "steps": 8, "network": "little"},
    }
    run_study(load_study({**STUDY, "method": method}, imports=["little_nets"]), tmp_path / "run", workers=0)
    weights = ("--weights", "treasure=1,time=0")
    code, out, err = pareto(
        "export", tmp_path / "run", *weights, "--import", "little_nets", "--out", tmp_path / "net"
    )
    assert code == 0, err
    assert "policy.safetensors, policy.json" in out
    monkeypatch.setattr(NETWORKS, "_entries", {})
    with pytest.raises(UnknownNameError, match=r"unknown network 'little'.*--import MODULE"):
        load(tmp_path / "run").steer({"treasure": 1.0, "time": 0.0})


def test_scores_go_into_a_folder_that_is_there(pareto, tmp_path):
    code, _, error = pareto("score", tmp_path, "--out", tmp_path / "none" / "scores.json")
    assert code == 2
    assert str(tmp_path / "none") in error
