"""Write a report: one HTML page, its data as JSON, its policies as CSV."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Sequence
from pathlib import Path

from pareto.errors import UsageError
from pareto.report.building import build
from pareto.report.page import render
from pareto.report.reading import read_runs
from pareto.report.tree import PolicyRow, Report, RunReport
from pareto.state import atomic


def write_report(
    folders: Path | str | Sequence[Path | str], out: Path | str | None = None, interactive: bool = False
) -> Path:
    """Read run folders and write their report.

    Args:
        folders: one run folder, or several to be compared.
        out: the page to write; default: report.html in the one run folder, ./report.html for several.
        interactive: add figures that turn and zoom; see `render`.

    Returns:
        Path of the page. Its data lies beside it as .json and, outside a run folder, as .csv: a run folder has its
        front.csv already.

    Raises:
        ArtifactError: not a run folder, or a broken one.
        UsageError: a page that cannot be written there.
        MachineError: the disk is full.
    """
    several = [folders] if isinstance(folders, Path | str) else list(folders)
    target = page_path(several, out)
    return save(build([run for folder in several for run in read_runs(folder)]), target, interactive)


def page_path(folders: Sequence[Path | str], out: Path | str | None = None) -> Path:
    """Where the page goes, after checking that it can be written there.

    Raises:
        UsageError: not an .html file, a name that could overwrite a run's own files, or a folder that is none or cannot
            be written.
    """
    if out is None:
        path = Path(folders[0]) / "report.html" if len(folders) == 1 else Path("report.html")
    else:
        path = Path(out)
    if path.suffix.lower() not in (".html", ".htm") or path.is_dir():
        raise UsageError(f"a report is an .html file; got {path}; its JSON and CSV are written beside it")
    folder = path.parent
    if _is_run(folder) and path.name != "report.html":
        raise UsageError(
            f"inside a run folder a report is called report.html; got {path}; choose another place"
        )
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UsageError(f"cannot write to {existing}; choose another place with --out")
    return path


def save(report: Report, path: Path, interactive: bool = False) -> Path:
    """Write a report's page and data; each file whole or not at all."""
    page = render(report, interactive)
    table = None if _is_run(path.parent) else to_csv(report)
    path.parent.mkdir(parents=True, exist_ok=True)
    atomic.write_text(path.with_suffix(".json"), report.dumps() + "\n")
    if table is not None:
        atomic.write_text(path.with_suffix(".csv"), table)
    atomic.write_text(path, page)
    return path


def _is_run(folder: Path) -> bool:
    return (folder / "front.json").exists()


def to_csv(report: Report) -> str:
    """Every policy of every run as one table; a column that no policy fills is left out."""
    rows = [_csv_row(run, policy) for run in report.runs for policy in run.policies]
    names = list(dict.fromkeys(name for row in rows for name, value in row.items() if value is not None))
    text = io.StringIO()
    writer = csv.DictWriter(text, names or ["run"], restval="", extrasaction="ignore", lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: v for k, v in row.items() if v is not None} for row in rows)
    return text.getvalue()


def _csv_row(run: RunReport, policy: PolicyRow) -> dict[str, object]:
    row: dict[str, object] = {"run": run.name, "id": policy.id, "kind": policy.kind, "seed": policy.seed}
    for k, objective in enumerate(run.objectives):
        name, interval = objective.name, policy.ci95[k]
        row[f"weight_{name}"] = None if policy.weights is None else policy.weights[k]
        row[f"value_{name}"] = policy.values[k]
        row[f"ci95_low_{name}"], row[f"ci95_high_{name}"] = interval or (None, None)
        row[f"selection_{name}"] = None if policy.selection is None else policy.selection[k]
    row |= {
        "n": policy.n,
        "split": policy.split,
        "non_dominated": policy.non_dominated,
        "hypervolume_contribution": policy.contribution,
        "knee": policy.knee,
        "kl_nats": policy.kl_nats,
        "kl_to_exact_nats": policy.kl_to_exact_nats,
        "optimality": policy.optimality,
        "optimality_heldout": policy.optimality_heldout,
        "cost": policy.cost,
        "cost_unit": policy.cost_unit,
    }
    return row | dict(policy.text or {})
