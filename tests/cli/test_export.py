"""`pareto export` writes what plain PEFT and transformers load, and changes nothing where it cannot."""

from __future__ import annotations

import json

import pytest

from pareto.state import manifest
from tests.models import adapters_by_hand as by_hand

POINTS = {"h": (1.0, 0.0), "b": (0.0, 1.0)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder on disk with two adapters."""
    root = tmp_path_factory.mktemp("run")
    by_hand.write_reference(root / "prerequisites" / "base")
    policies = []
    for seed, (name, (helpful, brief)) in enumerate(POINTS.items()):
        by_hand.write_ours(root / "policies" / name, seed)
        point = {"helpful": helpful, "brief": brief}
        policies.append(
            {"id": name, "seed": 0, "kind": "adapter", "weights": point, "values": point}
            | {
                "files": manifest.digests(root / "policies" / name),
                "needs": {"reference": "prerequisites/base"},
            }
        )
    front = {"format": 1, "study": "by-hand", "objectives": [{"name": n, "direction": "max", "unit": "reward"} for n in ("helpful", "brief")]}  # fmt: skip
    (root / "front.json").write_text(json.dumps({**front, "ref_point": None, "policies": policies}))
    manifest.write(root)
    return root


def test_an_adapter_and_a_merged_model_compute_the_same(pareto, folder, tmp_path):
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    call = ("export", folder, "--weights", "helpful=0.7,brief=0.3", "--out")
    code, out, _ = pareto(*call, tmp_path / "adapter")
    assert code == 0
    assert out == (
        f"{tmp_path / 'adapter'}: adapter of rank 4 for helpful=0.7, brief=0.3\nmixture: 0.7 x h, 0.3 x b\n"
    )
    code, out, _ = pareto(*call, tmp_path / "model", "--merge")
    assert code == 0
    assert out.startswith(f"{tmp_path / 'model'}: model for helpful=0.7")
    ids = torch.tensor([[1, 7, 30, 44, 9]])
    with torch.no_grad():
        one = (
            PeftModel.from_pretrained(by_hand.reference(), str(tmp_path / "adapter"))
            .eval()(input_ids=ids)
            .logits
        )
        two = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()(input_ids=ids).logits
    assert float((one - two).norm() / two.norm()) < 1e-6


def test_what_is_cut_or_extrapolated_is_said(pareto, folder, tmp_path):
    code, out, _ = pareto(
        "export", folder, "--weights", "helpful=0.7,brief=0.3", "--rank", 1, "--out", tmp_path / "a"
    )
    assert code == 0
    assert "adapter of rank 1" in out
    assert "relative error of a layer's update up to 0." in out
    code, out, _ = pareto(
        "export", folder, "--weights", "helpful=1.2,brief=-0.2", "--extrapolate", "--out", tmp_path / "b"
    )
    assert code == 0
    assert "extrapolated: outside the simplex" in out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--weights", "helpful=1.2,brief=-0.2"], "must be >= 0"),
        (["--weights", "helpful=0.5"], "missing: brief"),
        (["--weights", "helpful=0.5,brief=0.5", "--among", "h"], "do not enclose"),
        (["--weights", "helpful=0.5,brief=0.5", "--among", "h,x"], "holds no policy 'x'"),
        (["--weights", "helpful=0.5,brief=0.5", "--merge", "--rank", "2"], "leave out --rank or --merge"),
        (
            ["--weights", "helpful=0.5,brief=0.5", "--study-seed", "7"],
            "needs a policy made for each objective",
        ),
    ],
)
def test_wrong_requests_exit_2_and_write_nothing(pareto, folder, tmp_path, arguments, message):
    code, out, err = pareto("export", folder, *arguments, "--out", tmp_path / "out")
    assert (code, out) == (2, "")
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_holds_something_stays(pareto, folder, tmp_path):
    (tmp_path / "mine").write_text("x")
    code, _, err = pareto("export", folder, "--weights", "helpful=1,brief=0", "--out", tmp_path)
    assert code == 2
    assert "a new or an empty folder" in err
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_steer_says_which_method_serves(pareto, folder):
    call = (
        "steer",
        folder,
        "--weights",
        "helpful=0.7,brief=0.3",
        "--prompt",
        "the cat",
        "--max-new-tokens",
        3,
    )
    code, out, _ = pareto(*call)
    assert code == 0
    assert out.startswith(
        "weights: helpful=0.7, brief=0.3 (method auto, soup: the exact mixture of the nearest measured policies around "
        "the weights; soup: 0.7 x h, 0.3 x b)\nnearest measured: h,"
    )
    for method, options in (("soup", []), ("mod", ["--option", "divergence=alpha", "--option", "alpha=2"])):
        code, out, _ = pareto(*call, "--method", method, *options)
        assert code == 0
        assert f"(method {method}; {method}" in out
    code, out, _ = pareto(
        "steer", folder, "--weights", "helpful=1.2,brief=-0.2", "--extrapolate", "--method", "soup", "--prompt", "a", "--max-new-tokens", 2
    )  # fmt: skip
    assert code == 0
    assert "(extrapolated, outside the simplex)" in out
    code, _, err = pareto(*call, "--method", "mod", "--option", "alpha")
    assert code == 2
    assert "expected --option NAME=VALUE" in err
