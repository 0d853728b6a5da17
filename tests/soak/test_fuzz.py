"""The short form of both fuzzers, and a sample of what they write through the real command: taken, or refused in one message."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.soak import fuzz_configs, fuzz_rows
from tests.soak.fuzzing import Fuzz, problems, summary, write
from tests.soak.ledger import Ledger

PROGRAM = """
import json, sys
from pareto.cli import main
codes = []
for arguments in json.load(sys.stdin):
    try:
        codes.append(main(arguments))
    except SystemExit as end:
        codes.append(end.code)
print(json.dumps(codes))
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fuzz", "items"), [(fuzz_rows.FUZZ, 20_000), (fuzz_configs.FUZZ, 400)], ids=["rows", "configs"]
)
def test_every_item_is_taken_or_refused(fuzz: Fuzz, items: int, tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "ledger.jsonl")
    fuzz.run(1, items // 2, ledger)
    fuzz.run(1, items, ledger)  # as a stopped one goes on
    assert problems(ledger) == []
    found = summary(ledger)
    assert found["items"] == items
    assert found["accepted"] > items // 20
    assert found["refused"] > items // 5
    assert (
        found["rss_peak_mib"] - found["rss_start_mib"] < 1500
    )  # torch, gymnasium and one line of 17 MiB among it
    write(tmp_path / "out", {fuzz.name: found})
    assert f"## {fuzz.name}" in (tmp_path / "out" / "fuzz.md").read_text()


def test_the_same_seed_gives_the_same_files_in_any_process(tmp_path: Path) -> None:
    code = f"""
import hashlib, sys
from pathlib import Path
from tests.soak import fuzz_configs, fuzz_rows
rows = [fuzz_rows.files(3, number, 50, Path({str(tmp_path)!r})) for number in range(12)]
# a zipped file holds the time it was made
said = [path.name if path.suffix == ".gz" else hashlib.sha256(path.read_bytes()).hexdigest() for path in rows]
draw = fuzz_configs.Random(3)
said += [hashlib.sha256(write(draw)).hexdigest() for write in (fuzz_configs.as_tree, fuzz_configs.as_text, fuzz_configs.as_bomb) * 5]
print(said)
"""
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("1", "2")
    ]
    assert runs[0] == runs[1]
    assert len(runs[0]) > 1000


@pytest.mark.slow
def test_through_the_command(tmp_path: Path) -> None:
    """Exit code 0 or 2, one message that starts with the command's name, and no traceback."""
    calls, config = [], tmp_path / "x.yaml"
    for number in range(12):
        (tmp_path / str(number)).mkdir()
        path = fuzz_rows.files(4, number, 60, tmp_path / str(number))
        calls += [
            ["data", "check", str(path), "--on-bad", "skip", "--max-bad", "1"],
            ["data", "check", str(path)],
        ]
    draw = fuzz_configs.Random("through the command")
    for number in range(24):
        config = tmp_path / f"{number}.yaml"
        config.write_bytes(
            draw.choice((fuzz_configs.as_tree, fuzz_configs.as_text, fuzz_configs.as_bomb))(draw)
        )
        calls.append(["config", "check", str(config)])
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", PROGRAM],
        input=json.dumps(calls),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    codes = json.loads(done.stdout.splitlines()[-1])
    assert len(codes) == len(calls)
    assert set(codes) == {0, 2}
    assert "Traceback" not in done.stderr
    assert done.stderr.count("pareto data: ") + done.stderr.count("pareto config: ") == codes.count(2)
