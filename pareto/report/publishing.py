"""What of a run is worth committing: small text and a picture, written by a program and never by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pareto.errors import ArtifactError
from pareto.report import canvas
from pareto.report.building import build
from pareto.report.reading import read_runs
from pareto.report.stills import stills
from pareto.report.tree import RunReport
from pareto.state import atomic

COPIED = ("config.yaml", "front.json", "front.csv")


def publish(run: Path | str, folder: Path | str) -> Path:
    """Copy a run's config, front and table into a folder, and write `report.md` and `front.svg` (for three objectives and more, every two of them).

    Of several methods in one folder each has its config, its picture and its part of the page.

    Args:
        run: a finished run folder.
        folder: where the files go; made when missing.

    Returns:
        the folder.

    Raises:
        ArtifactError: the run is not finished.
    """
    run, folder = Path(run), Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for name in COPIED:
        if not (run / name).is_file():
            raise ArtifactError(f"{run} has no {name}; finish the sweep first")
        atomic.write_bytes(folder / name, (run / name).read_bytes())
    front = json.loads((run / "front.json").read_text(encoding="utf-8"))
    pages = []
    for own in read_runs(run):
        method, content = own.policies.content["method"], own.policies.content
        mark = f"-{method}" if "methods" in front else ""
        config = run / "configs" / f"{method}.yaml"
        if mark and config.is_file():
            (folder / "configs").mkdir(exist_ok=True)
            atomic.write_bytes(folder / "configs" / config.name, config.read_bytes())
        one = build([own]).runs[0]
        drawn = stills(one)
        picture = drawn.get("front", drawn.get("matrix"))
        if picture is not None:
            with canvas.theme():
                atomic.write_text(folder / f"front{mark}.svg", canvas.standalone(picture()))
        pages.append(markdown(one, content["cost"], front["provenance"]))
    atomic.write_text(folder / "report.md", "\n".join(pages))
    return folder


def markdown(run: RunReport, cost: dict[str, float], provenance: dict[str, object]) -> str:
    """A run as a page of Markdown: verdict, figures, policies, cost, provenance."""
    names = [o.name for o in run.objectives]
    exact = run.exact.figures if run.exact is not None else {}
    truth = [list(exact), ["---"] * len(exact), [_number(v) for v in exact.values()]] if exact else []
    rows = [
        [
            p.label,
            _numbers(p.weights),
            *(f"{v:.3f} [{ci[0]:.3f}, {ci[1]:.3f}]" if ci else f"{v:.3f}" for v, ci in zip(p.values, p.ci95)),
            *(_number(v) for v in (p.kl_nats, p.kl_to_exact_nats, p.optimality, p.optimality_heldout)),
        ]
        for p in run.policies
    ]
    header = [
        "#",
        f"weights ({', '.join(names)})",
        *names,
        "KL, nats",
        "KL to exact",
        "optimality",
        "held-out",
    ]
    versions: Any = provenance.get("versions") or {}
    return "\n".join(
        [
            f"# {run.name}: {run.verdict.headline}",
            "",
            *(f"- {fact}" for fact in run.verdict.facts),
            *(f"- Note: {flag}" for flag in run.verdict.flags),
            "",
            *(_row(cells) for cells in truth),
            "",
            *(_row(cells) for cells in (header, ["---"] * len(header), *rows)),
            "",
            f"Work {cost['wall_s']:.0f} s in all cells, {cost['train_tokens']:,} training tokens, peak {cost['peak_rss_mb']:.0f} MB. "
            f"Versions: {', '.join(f'{k} {v}' for k, v in versions.items())}. Content {str(provenance.get('content_sha256'))[:12]}.",
            "",
        ]
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


def _numbers(values: Sequence[float] | None) -> str:
    return "" if values is None else ", ".join(f"{v:.3g}" for v in values)
