"""The front of one run: scatter, scatter matrix, weights on the simplex, parallel coordinates."""

from __future__ import annotations

from pareto.objectives import Objectives
from pareto.report import figures, wording
from pareto.report.markup import Markup, join, tag
from pareto.report.parts import key, large, panel
from pareto.report.tree import RunReport


def front_section(r: int, run: RunReport, objectives: Objectives) -> Markup | None:
    """The figures of the front for any number of objectives; None for a single one, which has no front."""
    m = len(objectives)
    if not run.policies or m < 2:
        return None
    what = f"{' against '.join(reversed(objectives.names)) if m == 2 else ', '.join(objectives.names)}"
    label = f"The front: {what}, {wording.count(len(run.policies), 'policy', 'policies')}"
    if m == 2:
        return large(lambda w, h: figures.front(r, run, objectives, w, h), label, _legend(run, small=False))
    panels = [
        panel(
            figures.pair(r, run, objectives, i, j),
            f"{objectives[j].name} against {objectives[i].name}",
            css=f"at c{i} r{j - 1}",
        )
        for j in range(1, m)
        for i in range(j)
    ]
    corner = m == 3 and any(p.weights is not None and p.weights_kind == "simplex" for p in run.policies)
    if corner:
        panels.append(
            panel(
                figures.ternary(r, run, objectives),
                "Requested weights on the simplex, filled by contribution to the hypervolume",
                css="at c1 r0",
            )
        )
    matrix = tag(
        "div",
        panels,
        class_=f"matrix m{min(m, 7)}",
        tabindex=0 if m > 4 else None,
        role="group",
        aria_label=label,
    )
    shade = tag("p", "In the triangle of requested weights, a fuller point contributes more hypervolume.")
    return join(
        [
            tag("figure", matrix, tag("figcaption", _legend(run, small=True), shade if corner else None)),
            _parallel(r, run, objectives),
        ]
    )


def _legend(run: RunReport, small: bool) -> Markup:
    crowd = small and len(run.policies) > figures.CROWD
    bars = any(interval for p in run.policies for interval in p.ci95) and not crowd
    exact = run.exact
    return join(
        [
            key("policy", "policy with 95 % intervals" if bars else "policy"),
            key("dominated", "dominated") if any(not p.non_dominated for p in run.policies) else None,
            key("exact", "exact optimum at the same weights")
            if exact is not None and exact.same_weights and not crowd
            else None,
            key("dots" if small else "line", "exact front") if exact is not None and exact.front else None,
            key("area", "hypervolume") if run.ref_point is not None and not small else None,
            key("reference", "reference point") if run.ref_point is not None and not small else None,
        ]
    )


def _parallel(r: int, run: RunReport, objectives: Objectives) -> Markup:
    sliders = [
        tag(
            "label",
            tag("span", f"{o.name} {'at least' if o.direction == 'max' else 'at most'} "),
            tag("output", "any"),
            tag("input", type="range", min=0, max=100, value=0, step=1, data_o=k),
        )
        for k, o in enumerate(objectives)
    ]
    controls = tag(
        "fieldset",
        tag("legend", "Show only policies that deliver"),
        tag("div", sliders, class_="sliders"),
        tag(
            "p",
            tag(
                "output",
                wording.count(len(run.policies), "policy", "policies"),
                class_="left",
                aria_live="polite",
            ),
            " ",
            tag("button", "Show all", type="button", class_="clear"),
        ),
        class_="brush",
        data_run=r,
    )
    drawn = large(
        lambda w, h: figures.parallel(r, run, objectives, w, h),
        f"Parallel coordinates of {', '.join(objectives.names)}",
        "One line a policy, better always up, each axis from the worst to the best policy. "
        "Drag along an axis, or move the sliders, to keep only some.",
        css="parallel",
    )
    return join([drawn, controls])
