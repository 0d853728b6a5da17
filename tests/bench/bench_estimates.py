"""How good the estimates of a dry run are: every committed study beside what it then took.

    python tests/bench/bench_estimates.py [OUT]        writes OUT/estimates.md (default reports/reliability)

A study is estimated from its config alone, as if nothing of it had been run, and compared with the cost in its front.json.
Wasted work is left out of both.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pareto.errors import ParetoError
from pareto.state import atomic
from pareto.study.config import load_study
from pareto.study.estimate import estimate
from pareto.study.plan import plan_study
from pareto.study.rounds import in_rounds

COLUMNS = ("train_tokens", "generated_tokens", "env_steps", "wall_s", "peak_rss_mb")


def compared(config: Path) -> tuple[list[float | None], str]:
    """Estimate over truth for each column, None where there is nothing to compare; and why, where it cannot be."""
    study = load_study(config)
    if in_rounds(study):
        return [], "its weights follow from results"
    truth = json.loads((config.parent / "front.json").read_text(encoding="utf-8"))["cost"]
    cost = estimate(study, plan_study(study), [], config.parent, 1)[1].cost
    pairs = [(getattr(cost, name), truth[name]) for name in COLUMNS]
    return [said / took if said and took else None for said, took in pairs], ""


def table(root: Path) -> str:
    """The report."""
    rows, left, ratios = [], [], []
    for config in sorted(p for p in root.rglob("config.yaml") if (p.parent / "front.json").is_file()):
        name = config.parent.relative_to(root).as_posix()
        try:
            found, why = compared(config)
        except ParetoError as error:
            found, why = [], str(error).splitlines()[0]
        if why:
            left.append(f"- {name}: {why}")
        else:
            ratios += [max(r, 1 / r) for r in (found[3],) if r]
            rows.append(f"| {name} | " + " | ".join("-" if r is None else f"{r:.2f}" for r in found) + " |")
    return "\n".join(
        [
            "# Estimates of a dry run beside what studies took",
            "",
            "`python tests/bench/bench_estimates.py`: estimate over truth. Nothing of a study had been run when it was estimated,",
            "so times and memory are guesses; the machine that ran the studies was shared. Selection and scoring steps are left",
            "out: they are stated as upper bounds. What a search of policies takes for selection is part of its planned environment",
            "steps, and not of those in this column.",
            "",
            "| study | trained tokens | generated | environment steps | work, s | peak memory |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"Time is off by a factor of {sorted(ratios)[len(ratios) // 2]:.1f} in the median and {max(ratios):.1f} at most.",
            *(["", "Left out:", "", *left] if left else []),
            "",
        ]
    )


if __name__ == "__main__":
    out = Path(sys.argv[1] if len(sys.argv) > 1 else "reports/reliability")
    out.mkdir(parents=True, exist_ok=True)
    text = table(Path("reports"))
    atomic.write_text(out / "estimates.md", text)
    print(text)
