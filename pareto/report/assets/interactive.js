"use strict";
// Plotly draws what is described; colours are the page's own, light or dark.
(() => {
  const figures = JSON.parse(document.getElementById("figures").textContent);
  const root = document.documentElement;
  const colour = (name) => getComputedStyle(root).getPropertyValue(name).trim();
  const painted = (value) => {
    if (typeof value === "string") return value.replace(/^var\((--\w+)\)$/, (_, name) => colour(name));
    if (Array.isArray(value)) return value.map(painted);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, painted(v)]));
    return value;
  };
  const themed = (layout) => {
    const line = { color: colour("--muted"), gridcolor: colour("--hair"), linecolor: colour("--muted"), zeroline: false };
    const scene = { ...layout.scene };
    for (const name of ["xaxis", "yaxis", "zaxis"]) if (scene[name]) scene[name] = { ...line, showbackground: false, ...scene[name] };
    const ternary = { ...layout.ternary, bgcolor: "rgba(0,0,0,0)", sum: 1 };
    for (const name of ["aaxis", "baxis", "caxis"]) if (ternary[name]) ternary[name] = { ...line, zeroline: undefined, min: 0, ...ternary[name] };
    const menus = (layout.updatemenus || []).map((menu) => ({ ...menu, bgcolor: colour("--raised"), bordercolor: colour("--hair"), font: { color: colour("--ink") } }));
    return {
      ...layout,
      ...(layout.scene ? { scene } : {}),
      ...(layout.ternary ? { ternary } : {}),
      ...(menus.length ? { updatemenus: menus } : {}),
      paper_bgcolor: "rgba(0,0,0,0)",
      plot_bgcolor: "rgba(0,0,0,0)",
      font: { color: colour("--ink"), family: getComputedStyle(document.body).fontFamily, size: 12 },
      hoverlabel: { bgcolor: colour("--ink"), font: { color: colour("--paper") } },
      legend: { orientation: "h", y: -0.02 },
      margin: { l: 30, r: 30, t: layout.ternary ? 50 : 40, b: 30 },
    };
  };
  const draw = () => {
    for (const space of document.querySelectorAll("[data-figure]")) {
      const { data, layout } = figures[Number(space.dataset.figure)];
      Plotly.react(space, painted(data), themed(layout), { responsive: true, displayModeBar: false });
    }
  };
  draw();
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
})();
