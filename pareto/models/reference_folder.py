"""The model that the policies of a run stand on: where it lies, and that it is what it was."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from pareto import trust
from pareto.errors import ArtifactError
from pareto.models.model_folder import check_model_folder
from pareto.policy_record import PolicyRecord
from pareto.policy_set import PolicySet
from pareto.state import manifest


def reference_folder(run: PolicySet, record: PolicyRecord) -> Path:
    """Where the reference model of a policy lies in its run folder.

    The first time it is asked for, what lies there is looked at and checked against the run's manifest; a run that was read
    before it was complete has none.

    Raises:
        ArtifactError: the record does not say, the folder is gone, its name or a link leads out of the run folder, or a file
            in it is not as it was written.
        ConfigError: what lies there is refused by `check_model_folder`.
    """
    relative = (record.facts.get("needs") or {}).get("reference")
    if not isinstance(relative, str) or not manifest.is_safe(relative):
        raise ArtifactError(
            f"policy {record.id!r} of {run.folder} does not name its reference model; got {relative!r:.200}"
        )
    folder = run.folder
    for part in relative.split("/"):
        folder = folder / part
        if folder.is_symlink():
            raise ArtifactError(f"{folder} is a link; a run folder holds plain files only, put a copy there")
    if not folder.is_dir():
        raise ArtifactError(
            f"the reference model of policy {record.id!r} should be in {folder}; the folder is not there"
        )
    check_once(run, relative)
    return folder


@lru_cache(maxsize=256)
def check_once(run: PolicySet, below: str) -> None:
    """Look at one folder of a run and check its files against the manifest, once for every loaded run.

    Args:
        run: the policy set.
        below: of a model, below the run folder.

    Raises:
        ArtifactError: a file is missing, changed, a link or not listed.
        ConfigError: the folder is one that `check_model_folder` refuses.
    """
    check_model_folder(run.folder / below, trust_remote_code=trust.is_given())
    if (run.folder / manifest.NAME).exists():
        manifest.check(run.folder, below)
