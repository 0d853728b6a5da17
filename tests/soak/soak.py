"""Kill sweeps of every tiny study at random instants and write what became of them to reports/reliability.

python tests/soak/soak.py                # 200 kills, shared evenly by the studies; a stopped soak goes on
python tests/soak/soak.py --kills 40
"""

import argparse
import json
import platform
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.soak.kills import Kills, studies, summary  # noqa: E402  # the root comes first


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=200, help="in all")
    parser.add_argument("--scratch", type=Path, default=ROOT / "runs" / "soak")
    parser.add_argument("--out", type=Path, default=ROOT / "reports" / "reliability")
    args = parser.parse_args()
    soaked = {name: Kills(study, args.scratch / name) for name, study in studies().items()}
    each = -(-args.kills // len(soaked))
    for name, kills in soaked.items():
        kills.run(each)
        print(name, "done", flush=True)
        write(args.out, summary({n: k.ledger for n, k in soaked.items() if k.ledger.path.exists()}))


def write(out, table):
    out.mkdir(parents=True, exist_ok=True)
    facts = {"platform": platform.platform(), "python": platform.python_version(), "studies": table}
    (out / "kills.json").write_text(json.dumps(facts, indent=1) + "\n")
    lines = [
        "# Sweeps killed at random instants",
        "",
        "Written by `make soak` (`python tests/soak/soak.py`); no figure is edited by hand. Each study is swept again and again, "
        "the process or one of its workers killed by SIGKILL at random instants, until there were so many kills; every sweep "
        'is then seen through. A row "at ..." says what the sweep was at when it was killed. *Other content* counts sweeps '
        "whose `content_sha256` differs from the undisturbed one's. What was done and had to be done again counts as wasted.",
        "",
        f"{facts['platform']}, Python {facts['python']}.",
        "",
        "| | " + " | ".join(str(row["study"]) for row in table) + " | all |",
        "|---|" + "---:|" * (len(table) + 1),
    ]
    for name in list(table[0])[1:]:
        numbers = [row[name] for row in table]
        lines.append(f"| {name} | " + " | ".join(f"{n:,}" for n in [*numbers, round(sum(numbers), 1)]) + " |")
    (out / "kills.md").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
