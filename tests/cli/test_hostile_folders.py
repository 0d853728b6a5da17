"""Hostile models in a study and in run folders: every command refuses with one reason, and nothing of them runs."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pareto.errors import UsageError
from pareto.policy_set import load
from pareto.state import manifest
from tests.models import adapters_by_hand as by_hand
from tests.models import hostile

Run = Callable[..., tuple[int, str, str]]
WEIGHTS = ("--weights", "helpful=0.3,brief=0.7")
COMMANDS: dict[str, tuple[str, ...]] = {
    "steer": ("--method", "soup", "--prompt", "hi", *WEIGHTS),
    "export": ("--out", "exported", *WEIGHTS),
    "serve": ("--port", "0", "--method", "soup"),
    "verify": (),
}
REFERENCE = ("code of its own", "a tokenizer with code", "pickled weights, .bin", "weights behind a link", "an index to an absolute path",
             "a header of 2^62 bytes", "tensors that overlap")  # fmt: skip
ADAPTER = ("pickled weights", "a header of 2^62 bytes", "a tensor beyond the file", "weights behind a link")


@pytest.fixture
def sentinel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file that would be there if something hostile had run."""
    pytest.importorskip("fastapi", reason="the extra serve is not installed")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(
        "pareto.serve.server.refuse_connections", lambda host: None
    )  # could not be taken back
    yield tmp_path / "sentinel"
    assert not (tmp_path / "sentinel").exists()


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder with two adapters, sound so far."""
    folder = tmp_path / "run"
    by_hand.write_reference(folder / "prerequisites" / "base")
    for k, name in enumerate(("h", "b")):
        by_hand.write_ours(folder / "policies" / name, k)
    seal(folder)
    return folder


def seal(folder: Path, edit: Callable[[list[dict[str, Any]]], object] = lambda policies: None) -> None:
    """Write front.json and manifest over whatever lies there, as its maker would: all digests are right."""
    policies = []
    for k, name in enumerate(("h", "b")):
        own = folder / "policies" / name
        files = {
            p.relative_to(own).as_posix(): manifest.sha256(p) for p in sorted(own.rglob("*")) if p.is_file()
        }
        corner = {"helpful": 1.0 - k, "brief": float(k)}
        policies.append({"id": name, "kind": "adapter", "values": corner, "weights": corner, "files": files,
                         "needs": {"reference": "prerequisites/base"}})  # fmt: skip
    edit(policies)
    objectives = [{"name": name, "direction": "max", "unit": "reward"} for name in ("helpful", "brief")]
    front = {"format": 1, "study": "small", "objectives": objectives, "policies": policies}
    (folder / "front.json").write_text(json.dumps(front))
    if not any(path.is_symlink() for path in folder.rglob("*")):
        manifest.write(folder)


def refused(pareto: Run, command: str, run: Path, reason: str) -> None:
    code, out, err = pareto(command, run, *COMMANDS[command])
    assert code == 2, (out, err)
    assert "Traceback" not in err
    assert reason in err
    assert not Path("exported").exists()


def test_the_sound_run_is_taken(run: Path, pareto: Run, sentinel: Path) -> None:
    for command in ("steer", "export", "verify"):
        code, _, err = pareto(command, run, *COMMANDS[command])
        assert code == 0, err


@pytest.mark.parametrize("name", REFERENCE)
@pytest.mark.parametrize("command", COMMANDS)
def test_the_reference_of_a_run(command: str, name: str, run: Path, pareto: Run, sentinel: Path) -> None:
    edit, reason = hostile.MODELS[name]
    edit(run / "prerequisites" / "base", sentinel)
    seal(run)
    refused(pareto, command, run, "is a link" if "link" in name else reason)


@pytest.mark.parametrize("name", ADAPTER)
@pytest.mark.parametrize("command", COMMANDS)
def test_a_policy_of_a_run(command: str, name: str, run: Path, pareto: Run, sentinel: Path) -> None:
    edit, _ = hostile.ADAPTERS[name]
    edit(run / "policies" / "h", sentinel)
    seal(run)
    reason = {
        "pickled weights": "has the pickled file 'adapter_model.bin'",
        "weights behind a link": "is a link",
    }
    refused(pareto, command, run, reason.get(name, "no sound safetensors file"))
    with pytest.raises(UsageError):
        load(run).policy("h")


def _first(**changes: Any) -> Callable[[list[dict[str, Any]]], object]:
    return lambda policies: policies[0].update(changes)


@pytest.mark.parametrize(
    ("edit", "reason"),
    [
        (_first(id="../b"), "a policy id must match"),
        (_first(id="/etc"), "a policy id must match"),
        (_first(id="b\x1b[2J"), "a policy id must match"),
        (_first(files={"../../secret.json": "0" * 64}), "must stay inside its folder"),
        (_first(files={"a\nb.json": "0" * 64}), "must stay inside its folder"),
        (_first(kind="os.system"), "must be a plain name"),
        (_first(needs={"reference": "../../outside"}), "does not name its reference model"),
        (_first(needs=["reference"]), "must map names to folders"),
        (_first(needs={"reference": 7}), "does not name its reference model"),
        (_first(needs={"reference": "/etc"}), "does not name its reference model"),
        (_first(needs={"reference": "prerequisites/link"}), "is a link"),
    ],
)
@pytest.mark.parametrize("command", COMMANDS)
def test_names_that_lead_elsewhere(
    command: str, edit: Any, reason: str, run: Path, pareto: Run, sentinel: Path
) -> None:
    (run / "prerequisites" / "link").symlink_to(run / "prerequisites" / "base")
    seal(run, edit)
    (run / "manifest.json").unlink(missing_ok=True)
    refused(pareto, command, run, reason)


@pytest.mark.parametrize("name", ["code of its own", "a tokenizer with code", "pickled weights, .pt", "weights behind a link",
                                  "a tokenizer behind a link", "an index that climbs", "a header of 2^62 bytes", "a compiled kernel"])  # fmt: skip
def test_the_model_of_a_study(name: str, pareto: Run, sentinel: Path, tmp_path: Path) -> None:
    model = by_hand.write_reference(tmp_path / "model")
    edit, reason = hostile.MODELS[name]
    edit(model, sentinel)
    rows = [
        {"prompt": f"tell {i}", "chosen": "the cat", "rejected": "a dog", "objective": "good"}
        for i in range(40)
    ]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    study = {
        "study": "x",
        "task": {
            "kind": "text",
            "model": str(model),
            "data": [str(tmp_path / "rows.jsonl")],
            "objectives": ["good"],
        },
        "method": {"name": "modpo"},
        "engine": {"device": "cpu"},
    }
    (tmp_path / "x.yaml").write_text(json.dumps(study))
    code, out, err = pareto("sweep", "x.yaml", "--out", "new", "--workers", 0)
    assert code == 2, (out, err)
    assert "Traceback" not in err
    assert re.search(reason, err)


def test_what_a_run_folder_names_is_not_imported(
    pareto: Run, sentinel: Path, tmp_path: Path, monkeypatch: Any
) -> None:
    """An environment of a module runs the module; in a run folder that needs the command line's word."""
    from pareto.study.config import load_study
    from pareto.study.run import run_study
    from tests.cli.test_agents import STUDY

    run_study(load_study(STUDY), tmp_path / "agents", workers=0)
    (tmp_path / "evil_module.py").write_text(f"open({str(sentinel)!r}, 'w').close()\n")
    monkeypatch.syspath_prepend(tmp_path)
    config = tmp_path / "agents" / "config.yaml"
    config.write_text(config.read_text().replace("pareto/DeepSeaTreasure-v0", "evil_module:Sea-v0"))
    for command in (("steer", "--weights", "treasure=1,time=0"), ("score",)):
        code, _, err = pareto(command[0], tmp_path / "agents", *command[1:])
        assert code == 2
        assert (
            "a run folder imports nothing by itself; if you trust the module, say --import evil_module" in err
        )
    assert "evil_module" not in sys.modules
