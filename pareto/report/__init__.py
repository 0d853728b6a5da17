"""Reports: a pure function of run folders. Tables, figures and one HTML page that needs nothing else.

::

    run folders --read_runs--> Run --build--> Report (plain data, report.json) --render--> page
"""

from __future__ import annotations

from pareto.report.building import build
from pareto.report.page import render
from pareto.report.publishing import publish
from pareto.report.reading import Run, read_run, read_runs
from pareto.report.tree import Report
from pareto.report.writing import save, write_report

__all__ = ["Report", "Run", "build", "publish", "read_run", "read_runs", "render", "save", "write_report"]
