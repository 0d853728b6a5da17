// The measured front: a plane for two objectives, parallel lines for more; policies are buttons.

import { el, svg } from "./parts.js";
import { short, ticks, written } from "./simplex.js";

const W = 460, H = 320, LEFT = 52, RIGHT = 14, TOP = 14, BOTTOM = 44;

export const chart = (host, says, front, choose) => {
  const names = front.objectives.map((o) => o.name);
  const valuesOf = (policy) => names.map((n) => policy.values[n]);
  const label = (p) => `policy ${p.id}: ${written(names, valuesOf(p))}${p.weights ? `; made for ${written(names, names.map((n) => p.weights[n]))}` : ""}`;
  const tell = (policy) => { says.textContent = label(policy); };
  const button = (node, policy) => {
    node.setAttribute("tabindex", 0);
    node.setAttribute("role", "button");
    node.setAttribute("aria-label", label(policy));
    node.addEventListener("click", () => choose(policy));
    node.addEventListener("keydown", (e) => { if (e.key === "Enter" || e.key === " ") { e.preventDefault(); choose(policy); } });
    for (const kind of ["focus", "pointerenter"]) node.addEventListener(kind, () => tell(policy));
    return node;
  };
  says.textContent = `Filled points are on the front. Choose one to ${front.kind === "agent" ? "watch it" : "set the dial to its weights"}.`;
  const scale = names.map((_, k) => {
    const exact = names.length === 2 ? (front.exact_front || []).map((row) => row[k]) : [];
    const all = [...front.policies.map((p) => valuesOf(p)[k]), ...exact];
    const low = Math.min(...all), high = Math.max(...all), pad = (high - low || 1) * 0.08;
    return [low - pad, high + pad];
  });
  const picture = names.length === 2 ? plane() : parallel();
  host.replaceChildren(picture.node);
  return picture.mark;

  function plane() {
    const flip = front.objectives.map((o) => o.direction === "min");
    const x = (v) => LEFT + ((v - scale[0][0]) / (scale[0][1] - scale[0][0])) * (W - LEFT - RIGHT);
    const y = (v) => H - BOTTOM - ((v - scale[1][0]) / (scale[1][1] - scale[1][0])) * (H - TOP - BOTTOM);
    const marks = svg("g");
    const arrow = (k) => (flip[k] ? " (less is better)" : "");
    const node = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `measured policies by ${names.join(" and ")}` },
      svg("path", { class: "axis", d: `M${LEFT} ${TOP}V${H - BOTTOM}H${W - RIGHT}` }),
      ticks(...scale[0]).map((t) => svg("text", { class: "tick", x: x(t), y: H - BOTTOM + 16, "text-anchor": "middle" }, short(t))),
      ticks(...scale[1]).map((t) => svg("text", { class: "tick", x: LEFT - 7, y: y(t) + 4, "text-anchor": "end" }, short(t))),
      svg("text", { class: "axis-name", x: (LEFT + W) / 2, y: H - 8, "text-anchor": "middle" }, names[0] + arrow(0)),
      svg("text", { class: "axis-name", transform: `translate(13 ${(TOP + H - BOTTOM) / 2}) rotate(-90)`, "text-anchor": "middle" }, names[1] + arrow(1)),
      front.exact_front ? svg("polyline", { class: "exact", points: front.exact_front.map((row) => `${x(row[0])},${y(row[1])}`).join(" ") }) : null,
      front.policies.map((p) => {
        const [a, b] = valuesOf(p);
        return button(svg("circle", { class: `policy${p.non_dominated ? " best" : ""}`, cx: x(a), cy: y(b), r: 6 }), p);
      }), marks);
    const mark = (places) => marks.replaceChildren(...places.flatMap(({ key, values }) => {
      const [a, b] = [x(values[0]), y(values[1])];
      return [
        svg("circle", { class: `mark ${key}`, cx: a, cy: b, r: key === "a" ? 10 : 13 }),
        svg("text", { class: `mark-name ${key}`, x: a + (key === "a" ? -16 : 16), y: b - 12, "text-anchor": "middle" }, key.toUpperCase()),
      ];
    }));
    return { node, mark };
  }

  function parallel() {
    const x = (k) => LEFT + (k / (names.length - 1)) * (W - LEFT - RIGHT - 30);
    const y = (k, v) => H - BOTTOM - ((v - scale[k][0]) / (scale[k][1] - scale[k][0])) * (H - TOP - BOTTOM - 8);
    const path = (values) => `M${values.map((v, k) => `${x(k)} ${y(k, v)}`).join("L")}`;
    const marks = svg("g");
    const node = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "group", "aria-label": `measured policies by ${names.join(", ")}` },
      names.map((name, k) => [
        svg("path", { class: "axis", d: `M${x(k)} ${TOP}V${H - BOTTOM}` }),
        svg("text", { class: "axis-name", x: x(k), y: H - 20, "text-anchor": "middle" }, name),
        ticks(...scale[k], 3).map((t) => svg("text", { class: "tick", x: x(k) - 4, y: y(k, t) + 4, "text-anchor": "end" }, short(t))),
      ]),
      front.policies.map((p) => [
        svg("path", { class: "lines", d: path(valuesOf(p)) }),
        button(svg("circle", { class: `policy${p.non_dominated ? " best" : ""}`, cx: x(0), cy: y(0, valuesOf(p)[0]), r: 5 }), p),
      ]), marks);
    const mark = (places) => marks.replaceChildren(...places.map(({ key, values }) => svg("path", { class: `mark ${key}`, d: path(values) })));
    return { node, mark };
  }
};

/** All policies as a table, for those who do not see the picture. */
export const table = (host, front, choose) => {
  const names = front.objectives.map((o) => o.name);
  const cells = (p) => [
    ...names.map((n) => el("td", {}, short(p.values[n]))),
    el("td", {}, p.weights ? written(names, names.map((n) => p.weights[n])) : "–"),
    el("td", {}, p.non_dominated ? "yes" : "no"),
    el("td", {}, el("button", { type: "button", class: "quiet", onclick: () => choose(p) }, "choose")),
  ];
  host.replaceChildren(
    el("caption", { class: "muted" }, "Measured values, in each objective's own unit"),
    el("thead", {}, el("tr", {}, ["policy", ...names, "made for weights", "on the front", ""].map((h) => el("th", { scope: "col" }, h)))),
    el("tbody", {}, front.policies.map((p) => el("tr", {}, el("th", { scope: "row" }, p.id), cells(p)))),
  );
};

/** Where a mixture may be expected to lie: the shares of measured policies, as far as they are measured. */
export const expected = (front, shares) => {
  const names = front.objectives.map((o) => o.name);
  const known = Object.entries(shares).map(([id, c]) => [front.policies.find((p) => p.id === id), c]);
  if (known.some(([p]) => !p)) return null;
  return names.map((n) => known.reduce((total, [p, c]) => total + c * p.values[n], 0));
};
