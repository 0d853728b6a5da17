"""What `pareto verify` and loading say of a harmed run folder, beside what is true of it."""

from __future__ import annotations

import hashlib
import io
import json
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing, redirect_stderr, redirect_stdout
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pareto.cli import main
from pareto.errors import ParetoError
from pareto.policy_set import PolicySet, load
from tests.soak.harm import NO_CONTENT, Harm, Whole, part

EXPECTED = 2
"""Exit code for a folder that is not as it was written."""


@dataclass(frozen=True)
class Verdict:
    """What was said of one harm.

    Args:
        kind: of harm.
        parts: the kinds of file it was done to.
        files: which.
        detail: what was done.
        matters: whether the folder says something else than before.
        verify: "found", "not found" or "traceback".
        named: whether the message names what was harmed.
        load: "refused", "the same" (what was harmed is not read), "another" or "traceback".
    """

    kind: str
    parts: tuple[str, ...]
    files: tuple[str, ...]
    detail: str
    matters: bool
    verify: str
    named: bool
    load: str

    @property
    def fault(self) -> bool:
        """Whether this must not be."""
        missed = self.matters and not (self.verify == "found" and self.named)
        return missed or self.verify == "traceback" or self.load in ("another", "traceback")

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def judge(whole: Whole, harm: Harm, usual: str, command: bool = False) -> Verdict:
    """Ask about a folder that was just harmed.

    Args:
        whole: the folder as it was.
        harm: what was done.
        usual: `loaded` of the folder as it was.
        command: ask the real command, in a process of its own.
    """
    code, said = (_command if command else _called)(whole.root)
    names = [Path(name).name for name in harm.files] + (["manifest"] if "manifest.json" in harm.files else [])
    return Verdict(
        harm.kind,
        ("added file",) if harm.kind == "add" else tuple(sorted({part(name) for name in harm.files})),
        harm.files,
        harm.detail,
        matters=matters(whole, harm),
        verify="traceback" if "Traceback" in said else "found" if code == EXPECTED else "not found",
        named=any(name in said for name in names),
        load=_load(whole, usual),
    )


def matters(whole: Whole, harm: Harm) -> bool:
    """Whether a harmed folder says something else: not by its reports or its lock, nor by unused bytes of its store."""
    told = [name for name in harm.files if name not in NO_CONTENT]
    if told != ["sweep.db"] or not (whole.root / "sweep.db").exists():
        return bool(told)
    before = whole.root.parent / "before.db"
    before.write_bytes(whole.files["sweep.db"])
    return stored(before) != stored(whole.root / "sweep.db")


def stored(path: Path) -> list[str] | None:
    """Everything a store holds, as SQL; None where it cannot be read."""
    try:
        with closing(sqlite3.connect(path)) as db:
            return list(db.iterdump())
    except (sqlite3.Error, UnicodeDecodeError):
        return None


def loaded(root: Path, samples: Mapping[str, bytes]) -> str:
    """Digest of what loading a run and every policy of it gives, and of how the policies answer.

    Args:
        root: the run folder.
        samples: relative path -> content of the undamaged run's files; text policies are asked about samples.
    """
    run = load(root)
    found = hashlib.sha256()
    point = None if run.ref_point is None else run.ref_point.tolist()
    told = [run.objectives.to_json(), point, [r.id for r in run], run.values.tolist(), run.weights.tolist()]
    found.update(json.dumps(told).encode())
    for record in run:
        policy = run.policy(record.id)
        answer = _logps(policy, record.id, samples) if hasattr(policy, "logps") else _actions(policy, run)
        found.update(np.ascontiguousarray(answer).tobytes())
    return found.hexdigest()


def _logps(policy: Any, name: str, samples: Mapping[str, bytes]) -> np.ndarray:
    rows = [json.loads(line) for line in samples[f"samples/{name}.jsonl"].splitlines()[:2]]
    return policy.logps([row["prompt"] for row in rows], [row["response"] for row in rows])


def _actions(policy: Any, run: PolicySet) -> np.ndarray:
    space = policy.observations.space
    space.seed(0)
    return np.array([policy.act(space.sample()) for _ in range(8)])


def _load(whole: Whole, usual: str) -> str:
    try:
        return "the same" if loaded(whole.root, whole.files) == usual else "another"
    except ParetoError:
        return "refused"
    except Exception:
        return "traceback"


def _called(root: Path) -> tuple[int, str]:
    said = io.StringIO()
    try:
        with redirect_stdout(said), redirect_stderr(said):
            code = main(["verify", str(root)])
    except Exception as error:  # what is counted as a traceback
        return 1, f"Traceback: {error!r}"
    return code, said.getvalue()


def _command(root: Path) -> tuple[int, str]:
    program = "import sys; from pareto.cli import main; sys.exit(main())"
    command = [sys.executable, "-c", program, "verify", str(root)]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
