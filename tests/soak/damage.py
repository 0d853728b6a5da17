"""Harm run folders a thousand times and write to reports/reliability whether anybody noticed.

python tests/soak/damage.py              # 1,000 harms to runs of four methods; a stopped one goes on
python tests/soak/damage.py --harms 60
"""

import argparse
import json
import platform
import shutil
import sys
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from pareto import rng  # noqa: E402  # the root comes first
from pareto.cli import main as pareto  # noqa: E402
from pareto.study.config import load_study  # noqa: E402
from pareto.study.run import run_study  # noqa: E402
from tests.soak.harm import KINDS, Whole  # noqa: E402
from tests.soak.judging import judge, loaded  # noqa: E402
from tests.soak.kills import STUDIES  # noqa: E402
from tests.soak.ledger import Ledger  # noqa: E402

COMMAND_EVERY = 40
"""Every so many harms one is shown to the real command instead of the function behind it."""


def make(name, folder):
    """A finished run with its report, and beside it the run as it was before a second seed joined."""
    run, older = folder / "run", folder / "older"
    if not older.exists():
        shutil.rmtree(folder, ignore_errors=True)
        for seeds in ("[0]", "[0,1]"):
            run_study(load_study(STUDIES / f"{name}.yaml", [f"seeds={seeds}"]), run, workers=0)
            pareto(["report", str(run)])
            if seeds == "[0]":
                shutil.copytree(run, folder / "earlier")
        (folder / "earlier").rename(older)
    return Whole.read(run, older)


def harm_all(whole, ledger, name, n, seed=0):
    """Harm one run n times."""
    done = sum(1 for _ in ledger.events("harm"))
    whole.restore()
    usual = loaded(whole.root, whole.files)
    for i in range(done, n):
        draw = rng.generator("soak damage", name, seed, i)
        harm = list(KINDS.values())[i % len(KINDS)](whole, draw)
        verdict = judge(whole, harm, usual, command=i % COMMAND_EVERY == 0)
        whole.restore()
        ledger.add("harm", run=name, **verdict.to_json(), fault=verdict.fault)


def table(harms, key):
    """One row of counts per value of a key."""
    rows = {}
    for harm in harms:
        for value in {harm[key]} if isinstance(harm[key], str) else harm[key]:
            row = rows.setdefault(value, Counter())
            row["harms"] += 1
            row["found by verify"] += harm["verify"] == "found"
            row["no content harmed"] += not harm["matters"]
            row["missed"] += harm["matters"] and harm["verify"] != "found"
            row["not named"] += harm["matters"] and not harm["named"]
            row["loading refused"] += harm["load"] == "refused"
            row["loaded the same"] += harm["load"] == "the same"
            row["loaded another"] += harm["load"] == "another"
            row["tracebacks"] += "traceback" in (harm["verify"], harm["load"])
    return rows


COLUMNS = ("harms", "found by verify", "no content harmed", "missed", "not named", "loading refused", "loaded the same", "loaded another", "tracebacks")  # fmt: skip


def write(out, harms):
    out.mkdir(parents=True, exist_ok=True)
    tables = {key: table(harms, key) for key in ("kind", "parts", "run")}
    faults = [harm for harm in harms if harm["fault"]]
    facts = {"platform": platform.platform(), "python": platform.python_version(), "harms": len(harms)}
    whole = {**facts, "by": tables, "faults": faults}
    (out / "damage.json").write_text(json.dumps(whole, indent=1) + "\n")
    lines = [
        "# Run folders harmed at random",
        "",
        "Written by `python tests/soak/damage.py`; no figure is edited by hand. Finished runs of four methods, each extended "
        "by a second seed and with its report, are harmed one harm at a time: a bit flipped, the end cut off, two files "
        "exchanged, a file put back as it was before the run was extended, a file deleted, a file added. Kinds of file are "
        "drawn evenly, then a file. `pareto verify` must say so and name the file; loading the run and every policy must be "
        "refused, or give policies that answer as before, where what was harmed is not read by it.",
        "",
        "*No content harmed*: reports, which are made from the rest, the lock, and bytes of the store that it does not use: "
        "whether it still holds the same rows is asked of SQLite, not of this project. A swap counts for both files.",
        "",
        f"{facts['harms']} harms, {len(faults)} faults. {facts['platform']}, Python {facts['python']}.",
    ]
    for key, title in (("kind", "harm"), ("parts", "file"), ("run", "run of")):
        lines += ["", f"| {title} | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
        for value, row in sorted(tables[key].items()):
            lines.append(f"| {value} | " + " | ".join(str(row[c]) for c in COLUMNS) + " |")
    (out / "damage.md").write_text("\n".join(lines) + "\n")


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--harms", type=int, default=1000, help="in all")
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs" / "damage")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "reliability")
    args = parser.parse_args()
    names = sorted(path.stem for path in STUDIES.glob("*.yaml"))
    for name in names:
        folder = args.scratch / name
        whole = make(name, folder)
        harm_all(whole, Ledger(folder / "harms.jsonl"), name, -(-args.harms // len(names)))
        print(name, "done", flush=True)
    write(args.out, [h for name in names for h in Ledger(args.scratch / name / "harms.jsonl").events("harm")])


if __name__ == "__main__":
    main()
