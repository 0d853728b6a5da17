"""A decoding mixture at fixed weights as a stored policy: the mixed policies' files in folders of their own, and their shares."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from pareto.errors import ArtifactError, ParetoError, UsageError
from pareto.models.adapters import load_backbone
from pareto.models.decoding_mixture import AdapterRows, DecodingMixture, WholeModels
from pareto.models.lora_factors import CONFIG, read_factors
from pareto.models.mixing import AdapterMixture
from pareto.models.mixing_rules import RULES
from pareto.state import atomic

FACTS = "decoding.json"
"""Which policies are mixed, with what shares, by which rule."""
_KEPT = ("adapter_config.json", "config.json", "generation_config.json")


def store_decoding(
    members: Sequence[tuple[Path, float]], divergence: str, options: Mapping[str, float], folder: Path
) -> None:
    """Write a mixture; files of the members are linked where the disk can do that, since they are never changed.

    Args:
        members: (folder of a stored adapter or model, its share), those without a share left out.
        divergence: name of the rule.
        options: of the rule.
        folder: the policy's folder.
    """
    for i, (source, _) in enumerate(members):
        own = folder / str(i)
        own.mkdir()
        for path in sorted(source.iterdir()):
            if path.name in _KEPT or path.name.startswith(("adapter_model.", "model")):
                try:
                    os.link(path, own / path.name)
                except OSError:  # another disk, or one without links
                    shutil.copyfile(path, own / path.name)
    facts = {"shares": [share for _, share in members], "divergence": divergence, "options": dict(options)}
    atomic.write_json(folder / FACTS, facts)


def load_decoding(reference: Any, folder: Path) -> DecodingMixture:
    """Load a mixture at its shares; it is called like the model inside.

    Args:
        reference: a freshly loaded base model; it becomes part of the result.
        folder: a policy's folder.

    Raises:
        ArtifactError: the facts cannot be read, or a member is missing.
    """
    try:
        facts = json.loads((folder / FACTS).read_text(encoding="utf-8"))
        shares = [float(share) for share in facts["shares"]]
        rule = RULES.get(str(facts["divergence"]))(**facts["options"])
    except (OSError, ValueError, KeyError, TypeError, ParetoError) as error:
        raise ArtifactError(f"the mixture {folder / FACTS} cannot be read: {error}") from error
    members = [folder / str(i) for i in range(len(shares))]
    try:
        if all((own / CONFIG).exists() for own in members):
            updates = [read_factors(own, reference) for own in members]
            parts: AdapterRows | WholeModels = AdapterRows(AdapterMixture(reference, updates))
        else:
            parts = WholeModels([load_backbone(reference, own) for own in members], reference)
    except UsageError as error:
        raise ArtifactError(f"the policies mixed in {folder} cannot be run side by side: {error}") from error
    mixture = DecodingMixture(parts, rule.mix, rule.needs_reference).eval()
    mixture.keep(torch.tensor(shares))
    return mixture
