"""Text policies of a run folder: the reference they stand on, and the policy itself."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from pareto.errors import ArtifactError
from pareto.models.adapters import load_policy
from pareto.models.causal import Quantize, load_causal_lm
from pareto.models.text_policy import TransformersPolicy
from pareto.policy_set import PolicyRecord, PolicySet
from pareto.state import manifest


def reference_folder(run: PolicySet, record: PolicyRecord) -> Path:
    """Where the reference model of a policy lies in its run folder.

    Its files are checked against the run's manifest the first time they are asked for; a run that was read before it was
    complete has none.

    Raises:
        ArtifactError: the record does not say, the folder is gone, or a file in it is not as it was written.
    """
    relative = (record.facts.get("needs") or {}).get("reference")
    if not relative or Path(relative).is_absolute() or ".." in Path(relative).parts:
        raise ArtifactError(
            f"policy {record.id!r} of {run.folder} does not name its reference model; got {relative!r}"
        )
    folder = run.folder / relative
    if not folder.is_dir():
        raise ArtifactError(
            f"the reference model of policy {record.id!r} should be in {folder}; the folder is not there"
        )
    check_once(run, relative)
    return folder


@lru_cache(maxsize=256)
def check_once(run: PolicySet, below: str) -> None:
    """Check the files of one folder of a run against its manifest, once for every loaded run.

    Raises:
        ArtifactError: one is missing, changed, a link or not listed.
    """
    if (run.folder / manifest.NAME).exists():
        manifest.check(run.folder, below)


def load_text_policy(
    run: PolicySet,
    record: PolicyRecord,
    *,
    device: str = "cpu",
    dtype: str = "float32",
    quantize: Quantize | None = None,
) -> TransformersPolicy:
    """Load a policy stored as an adapter or as a whole model, ready to generate.

    Args:
        run: the policy set.
        record: one of its policies, whose files have been checked.
        device: where to compute.
        dtype: of the weights.
        quantize: store the base in 4 or 8 bits.
    """
    model, tokenizer = load_causal_lm(reference_folder(run, record), dtype=dtype, quantize=quantize)
    model = model if quantize else model.to(device)
    policy = load_policy(model, run.folder / "policies" / record.id)
    files = "\n".join(f"{name}={sha256}" for name, sha256 in sorted(record.files.items()))
    digest = hashlib.sha256(f"{record.id}\n{dtype} {quantize}\n{files}".encode()).hexdigest()
    return TransformersPolicy(policy, tokenizer, run.objectives, digest)
