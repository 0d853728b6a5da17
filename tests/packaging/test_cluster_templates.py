"""The templates for clusters: read, their commands understood, the Slurm ones run with a cluster of stand-ins."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from pareto.cli import build_parser
from pareto.study.config import load_study

FOLDER = Path(__file__).parents[2] / "configs" / "cluster"
SCRIPTS = sorted(FOLDER.glob("*.sbatch"))
DOCUMENTS = sorted(FOLDER.glob("*.yaml"))

STANDINS = {
    # writes where it was asked to, tells that it is at work, and stops on SIGTERM as a sweep does
    "pareto": """trap 'echo stopped >> "$out/log"; exit 3' TERM
while [ $# -gt 0 ]; do case $1 in --out) out=$2; shift;; esac; shift; done
echo "began after $(cat "$out/log" 2>/dev/null | wc -l)" >> "$out/log"
touch "$AT_WORK"
if [ "$LAST" = 3 ]; then while :; do sleep 0.05; done; fi
exit $LAST""",
    "scontrol": 'echo "$@" >> "$CALLS"',
    "ray": 'echo "ray $@" >> "$CALLS"',
    "srun": 'echo "srun $@" >> "$CALLS"',
}


@pytest.fixture
def slurm(tmp_path: Path) -> dict[str, str]:
    """The environment of a job, with stand-ins for every program it calls."""
    (tmp_path / "bin").mkdir()
    for name, body in STANDINS.items():
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/bash\n{body}\n")
        path.chmod(0o755)
    own = {
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
        "SLURM_TMPDIR": str(tmp_path / "node"),
        "KEPT": str(tmp_path / "kept"),
        "SLURM_JOB_ID": "77",
        "SLURM_CPUS_PER_TASK": "2",
        "SLURM_ARRAY_TASK_ID": "4",
        "SLURM_JOB_NUM_NODES": "3",
        "AT_WORK": str(tmp_path / "at-work"),
        "CALLS": str(tmp_path / "calls"),
        "LAST": "0",
    }
    return {**os.environ, **own}


def start(script: Path, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    return subprocess.Popen(["bash", str(script), "some/study.yaml"], env=environment)


def kept(script: Path, environment: dict[str, str]) -> list[str]:
    folder = Path(environment["KEPT"]) / ("study-seed4" if "array" in script.name else "")
    return (folder / "log").read_text().splitlines()


def calls(environment: dict[str, str]) -> str:
    path = Path(environment["CALLS"])
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_job_ends_as_its_sweep_does(script: Path, slurm: dict[str, str], tmp_path: Path) -> None:
    for code in ("0", "2"):
        assert start(script, {**slurm, "LAST": code}).wait(timeout=60) == int(code)
    assert kept(script, slurm) == [
        "began after 0",
        "began after 1",
    ]  # the second went on from what the first left
    assert "requeue" not in calls(slurm)
    assert not list((tmp_path / "node").glob("*/*"))
    folder = Path(slurm["KEPT"]) / ("study-seed4" if "array" in script.name else "")
    shutil.rmtree(f"{folder}.old")
    folder.rename(f"{folder}.old")  # the node died between the two last steps of a copy
    assert start(script, slurm).wait(timeout=60) == 0
    assert kept(script, slurm)[-1] == "began after 2"


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_sigterm_stops_the_sweep_keeps_its_folder_and_queues_the_job_again(
    script: Path, slurm: dict[str, str]
) -> None:
    job = start(script, {**slurm, "LAST": "3"})
    deadline = time.monotonic() + 60
    while not Path(slurm["AT_WORK"]).exists():
        assert time.monotonic() < deadline
        time.sleep(0.02)
    job.send_signal(signal.SIGTERM)
    assert job.wait(timeout=60) == 3
    assert kept(script, slurm) == ["began after 0", "stopped"]
    assert "requeue 77" in calls(slurm)


def commands() -> list[list[str]]:
    """Every `pareto` command of the templates."""
    found = []
    for path in SCRIPTS:
        lines = [line for line in path.read_text().splitlines() if line.startswith("pareto ")]
        found += [
            shlex.split(line.removesuffix("&").replace("$((", "'").replace("))", "'")) for line in lines
        ]
    for document in documents():
        if document["kind"] == "RayJob":
            found.append(shlex.split(document["spec"]["entrypoint"]))
        elif document["kind"] == "Job":
            found.append(document["spec"]["template"]["spec"]["containers"][0]["command"])
    return found


def documents() -> list[dict[str, Any]]:
    return [one for path in DOCUMENTS for one in yaml.safe_load_all(path.read_text())]


def test_every_command_is_one_of_ours() -> None:
    found = commands()
    assert len(found) == len(SCRIPTS) + len(DOCUMENTS) == 5
    for program, *arguments in found:
        assert program == "pareto"
        numbers = [
            "2" if before == "--workers" else word for before, word in zip(["", *arguments], arguments)
        ]
        assert build_parser().parse_args(numbers).command == "sweep"


def test_kubernetes_documents_hold_what_they_need() -> None:
    kinds = {document["kind"]: document for document in documents()}
    assert set(kinds) == {"PersistentVolumeClaim", "ConfigMap", "Job", "RayJob"}
    study = kinds["ConfigMap"]["data"]["study.yaml"]
    assert load_study(yaml.safe_load(study)).method_name == "modpo"
    job = kinds["Job"]["spec"]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # what a pod failure policy asks for
    rules = {code: rule["action"] for rule in job["podFailurePolicy"]["rules"] for code in rule.get("onExitCodes", {}).get("values", [])}  # fmt: skip
    assert rules == {2: "FailJob", 4: "FailJob", 3: "Ignore"}
    claim = kinds["PersistentVolumeClaim"]["metadata"]["name"]
    head = kinds["RayJob"]["spec"]["rayClusterSpec"]["headGroupSpec"]["template"]["spec"]
    for volumes in (job["template"]["spec"]["volumes"], head["volumes"]):
        assert claim in [v.get("persistentVolumeClaim", {}).get("claimName") for v in volumes]


def test_the_table_names_every_template() -> None:
    text = (FOLDER / "README.md").read_text()
    assert [path.name for path in (*SCRIPTS, *DOCUMENTS) if f"`{path.name}`" not in text] == []
