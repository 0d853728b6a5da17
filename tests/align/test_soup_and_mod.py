"""Methods that combine corners: soups against sums of parameters, decoding mixtures against enumerated products."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from pareto.align import MOD, MODPO, Soup
from pareto.cells import FitContext
from pareto.core.loop import TrainConfig
from pareto.errors import ArtifactError
from pareto.models.adapters import FullFineTuning, LoRA, load_policy
from pareto.models.lora_factors import read_factors
from pareto.tasks.lab import Lab

SETTINGS: dict[str, Any] = {
    "beta": 1.0,
    "mass_anchor": 0.1,
    "training": TrainConfig(steps=60, batch_size=64, lr=5e-3),
}
FULL, THIN = FullFineTuning(), LoRA(r=2, alpha=4)
WEIGHTS = [{"helpful": 1.0, "brief": 0.0}, {"helpful": 0.3, "brief": 0.7}]


def fit(own: Any, lab: Lab, reference: Path, root: Path) -> dict[str, Path]:
    """Train a plan: "helpful", "brief" and "mixed" -> folder."""
    cells = own.plan(lab, WEIGHTS, [0])
    done, named = {cells[0].id: reference}, {}
    for cell in cells[1:]:
        needs = {name: done[i] for name, i in cell.needs.items()}
        context = FitContext(root / cell.id, root / f"{cell.id}-scratch", needs)
        context.folder.mkdir(parents=True)
        context.scratch.mkdir()
        fitted = own.train(cell, lab, context)
        w = max(cell.weights.values())
        name = "mixed" if w < 1 else next(n for n, v in cell.weights.items() if v == 1.0)
        assert (fitted.cost.train_tokens == 0) == (name == "mixed")
        done[cell.id] = named[name] = context.folder
    return named


@pytest.fixture(scope="module", params=[FULL, THIN], ids=lambda a: a.kind)
def both(
    request, small_lab: Lab, lab_reference: Path, tmp_path_factory
) -> tuple[dict[str, Path], dict[str, Path]]:
    """Folders of a soup and of a decoding mixture of the same corners."""
    root = tmp_path_factory.mktemp("corners")
    return tuple(
        fit(kind(adapter=request.param, **SETTINGS), small_lab, lab_reference, root / kind.__name__)
        for kind in (Soup, MOD)
    )


def test_corners_are_those_of_modpo(small_lab: Lab):
    """A study of modpo with the same settings has the same cells at the corners, so nothing is trained anew."""
    modpo = {c.id for c in MODPO(adapter=FULL, **SETTINGS).plan(small_lab, WEIGHTS[:1], [0])}
    soup, mod = (kind(adapter=FULL, **SETTINGS).plan(small_lab, WEIGHTS, [0]) for kind in (Soup, MOD))
    assert modpo <= {c.id for c in soup}
    assert [c.id for c in soup[:3]] == [c.id for c in mod[:3]]
    assert [c.role for c in soup] == ["prerequisite", "policy", "prerequisite", "policy"]
    assert soup[3].id != mod[3].id
    assert set(soup[3].needs) == {"reference", "corner:helpful", "corner:brief"}


def test_a_soup_is_the_sum_of_what_the_corners_changed(both, small_lab: Lab, lab_reference: Path):
    folders = both[0]
    if (folders["mixed"] / "adapter_config.json").exists():
        parts = {name: read_factors(folder) for name, folder in folders.items()}
        for layer, mixed in parts["mixed"].items():
            want = sum(
                w * parts[n][layer].scaled_b @ parts[n][layer].a
                for n, w in (("helpful", 0.3), ("brief", 0.7))
            )
            assert torch.allclose(mixed.scaled_b @ mixed.a, want, atol=1e-6)
        return
    models = {
        name: dict(
            load_policy(
                small_lab.load_reference(lab_reference, "cpu", "float32")[0], folder
            ).named_parameters()
        )
        for name, folder in folders.items()
    }
    for name, p in models["mixed"].items():
        want = 0.3 * models["helpful"][name] + 0.7 * models["brief"][name]
        assert torch.allclose(p, want, atol=1e-6)


def enumerated(lab: Lab, folder: Path, reference: Path) -> np.ndarray:
    return lab._enumerate_policy(folder, lab.world.split("selection"), {"reference": reference})[0]


def test_mod_is_the_product_of_the_corners_token_by_token(both, small_lab: Lab, lab_reference: Path):
    """Conditional probabilities of the enumerated corners, multiplied with powers and normalised at every slot."""
    folders = both[1]
    shape = (small_lab.choices,) * small_lab.slots
    total: Any = 0.0
    corners = {n: enumerated(small_lab, folders[n], lab_reference) for n in ("helpful", "brief")}
    for s in range(small_lab.slots):
        mixed: Any = 0.0
        for name, weight in (("helpful", 0.3), ("brief", 0.7)):
            tree = corners[name].reshape(-1, *shape)
            upto = np.logaddexp.reduce(tree.reshape(*tree.shape[: s + 2], -1), axis=-1)
            mixed = mixed + weight * (upto - np.logaddexp.reduce(upto, axis=-1, keepdims=True))
        mixed = mixed - np.logaddexp.reduce(mixed, axis=-1, keepdims=True)
        total = total + mixed.reshape(*mixed.shape, *[1] * (small_lab.slots - s - 1))
    got = enumerated(small_lab, folders["mixed"], lab_reference)
    assert np.abs(np.exp(got) - np.exp(total.reshape(got.shape))).max() < 0.01
    assert np.abs(np.exp(got) - np.exp(corners["brief"])).max() > 0.02  # not simply one of them


def test_what_is_stored(both):
    soup, mod = both
    assert json.loads((mod["mixed"] / "policy.json").read_text()) == {
        "kind": "decoding",
        "weights": WEIGHTS[1],
        "beta": 1.0,
    }
    assert json.loads((mod["mixed"] / "decoding.json").read_text())["shares"] == [0.3, 0.7]
    files = {p.relative_to(mod["mixed"]).suffix for p in mod["mixed"].rglob("*") if p.is_file()}
    assert files == {".json", ".safetensors"}
    assert json.loads((soup["mixed"] / "policy.json").read_text())["weights"] == WEIGHTS[1]


def test_a_broken_mixture_says_so(both, small_lab: Lab, lab_reference: Path, tmp_path: Path):
    (tmp_path / "decoding.json").write_text(
        json.dumps({"shares": [1.0], "divergence": "none", "options": {}})
    )
    with pytest.raises(ArtifactError, match="cannot be read"):
        load_policy(small_lab.load_reference(lab_reference, "cpu", "float32")[0], tmp_path)


def test_alpha_belongs_to_alpha(small_lab: Lab):
    with pytest.raises(ValueError, match="alpha belongs to divergence alpha"):
        MOD(alpha=0.5)
    with pytest.raises(ValueError, match="alpha belongs to divergence alpha"):
        MOD(divergence="alpha")
    ids = [
        MOD(divergence=d, adapter=FULL, **SETTINGS).plan(small_lab, WEIGHTS, [0])[-1].id
        for d in ("jsd", "forward_kl")
    ]
    assert len(set(ids)) == 2
