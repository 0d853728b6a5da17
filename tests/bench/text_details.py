"""What `pareto report` does not say of a text study: its data, and how far plain length and words get on the same pairs.

    python tests/bench/text_details.py RUN_FOLDER REPORT_FOLDER

Writes details.md; every number in it is read from the run folder.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def main(run: Path, out: Path) -> None:
    """Write details.md of one run."""
    front = json.loads((run / "front.json").read_text(encoding="utf-8"))
    folder = run / str(front["policies"][0]["needs"]["reference"])
    data = json.loads((folder / "data.json").read_text(encoding="utf-8"))
    samples = {p["id"]: _lines(run / "samples" / f"{p['id']}.jsonl") for p in front["policies"]}
    out.mkdir(parents=True, exist_ok=True)
    (out / "details.md").write_text("\n".join(text(front, data, samples)) + "\n", encoding="utf-8")


def text(front: Mapping[str, Any], data: Mapping[str, Any], samples: Mapping[str, Any]) -> Iterator[str]:
    """The report, line by line."""
    names = [o["name"] for o in front["objectives"]]
    policies = sorted(front["policies"], key=lambda p: -p["weights"][names[0]])
    held = data["heldout"]
    yield f"# {front['study']}: data, predictors without a model, replies"
    yield ""
    yield f"Written by `tests/bench/text_details.py` (content {front['provenance']['content_sha256'][:12]})."
    yield ""
    yield "## Data"
    yield ""
    yield from _table(
        ["part", "instructions", "pairs", *(f"{n}: decided, ties" for n in names), "conflict", "longer wins"],
        [
            [
                part,
                data[part]["prompts"],
                data[part]["pairs"],
                *(f"{o['decided']}, {o['ties']}" for o in data[part]["objectives"]),
                _share(data[part]["conflicts"][0]["disagree"]),
                ", ".join(f"{o['name']} {_share(o['longer_wins'])}" for o in data[part]["objectives"]),
            ]
            for part in ("train", "selection", "heldout")
        ],
    )
    yield ""
    yield (
        "Conflict is the share of pairs decided under both objectives whose winners differ. No instruction is in two parts. "
        "`win` of a system is its judged chance to beat one baseline system, so only pairs with the baseline were judged "
        "directly (see `pareto/data/sources/alpaca_eval.py`)."
    )
    yield ""
    yield f"## Accuracy on {held['prompts']} held-out instructions"
    yield ""
    yield (
        "Share of an instruction's pairs that the implicit reward log(pi / pi_ref) puts in the right order, mean over "
        "instructions, with 95 % intervals over instructions. The reference itself stands at 50 %."
    )
    yield ""
    yield from _table(
        ["policy", *names, "KL to reference, nats", "reply length, tokens", "replies that end", "distinct-2"],
        [
            [
                _weights(p, names),
                *(_accuracy(p["values"][n], p["ci95"][n]) for n in names),
                f"{p['kl_nats']:.2f}",
                f"{p['text']['length_tokens']:.1f}",
                _share(p["text"]["ended"]),
                f"{p['text']['distinct_2']:.2f}",
            ]
            for p in policies
        ]
        + [
            [title, *(_accuracy(**_renamed(policies[0]["baselines"][n][key])) for n in names), "", "", "", ""]
            for key, title in (("length", "*length alone*"), ("words", "*bag of words*"))
        ],
    )
    yield ""
    yield from _findings(front, policies, names)
    yield ""
    yield "## One instruction along the front"
    yield ""
    first = samples[policies[0]["id"]][0]["prompt"]
    yield f"> {_one_line(first)}"
    yield ""
    for p in policies:
        reply = samples[p["id"]][0]["response"]
        yield f"- {_weights(p, names)}: {_one_line(reply)[:300]}"


def _findings(front: Mapping[str, Any], policies: list[Any], names: list[str]) -> Iterator[str]:
    figures = front["indicators"]
    point = ", ".join(f"{n} {x:.3f}" for n, x in zip(names, front["ref_point"]))
    low, high = figures["hypervolume_ci95"] or (float("nan"), float("nan"))
    yield (
        f"- Hypervolume {figures['hypervolume']:.4f} [{low:.4f}, {high:.4f}] against the reference point {point} "
        f"({front['ref_point_rule']}); {figures['cardinality']} of {len(policies)} policies are non-dominated."
    )
    for n in names:
        best = max(policies, key=lambda p, n=n: p["values"][n])
        alone = policies[0]["baselines"][n]["length"]["accuracy"]
        better = "above" if best["values"][n] > alone else "not above"
        yield (
            f"- {n}: the best policy orders {_share(best['values'][n])} of the pairs, {better} length alone "
            f"({_share(alone)})."
        )
    cost = front["cost"]
    yield (
        f"- Cost: {cost['train_tokens']:,} training tokens, {cost['generated_tokens']:,} generated tokens, "
        f"{cost['wall_s'] / 60:.1f} minutes of work in all cells, {cost['peak_rss_mb']:.0f} MB at most."
    )


def _table(header: list[Any], rows: list[list[Any]]) -> Iterator[str]:
    yield f"| {' | '.join(map(str, header))} |"
    yield f"|{'---|' * len(header)}"
    for row in rows:
        yield f"| {' | '.join(map(str, row))} |"


def _weights(policy: Mapping[str, Any], names: list[str]) -> str:
    return ", ".join(f"{n} {policy['weights'][n]:.3g}" for n in names)


def _renamed(baseline: Mapping[str, Any]) -> dict[str, Any]:
    return {"value": baseline["accuracy"], "interval": baseline["ci95"]}


def _accuracy(value: float, interval: Any) -> str:
    span = f" [{100 * interval[0]:.1f}, {100 * interval[1]:.1f}]" if interval else ""
    return f"{100 * value:.1f} %{span}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"


def _one_line(text: str) -> str:
    return " ".join(text.split()).replace("<", "&lt;").replace("|", "\\|")


def _lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
