// The dial of one pane: a triangle for three objectives, linked sliders for any number. Both say the same weights.

import { el, svg } from "./parts.js";
import { moved, normalised, short, toPoint, toWeights, written } from "./simplex.js";

const CORNERS = [[100, 22], [186, 170], [14, 170]];

export const dial = (host, key, names, start, changed) => {
  let weights = normalised(start);
  const locked = names.map(() => false);
  const box = el("div", { class: "dial", role: "group", "aria-label": `weights of ${key.toUpperCase()}` });
  const triangle = names.length === 3 ? draw() : null;
  const lines = names.map((name, k) => line(name, k));
  if (triangle) box.append(triangle.node);
  box.append(...lines.map((l) => l.node));
  host.append(box);
  show();

  function set(next, tell = true) {
    weights = next;
    show();
    if (tell) changed(weights);
  }

  function show() {
    lines.forEach(({ input, output }, k) => {
      input.value = String(Math.round(weights[k] * 1000) / 1000);
      input.setAttribute("aria-valuetext", `${names[k]} ${Math.round(weights[k] * 100)} percent`);
      output.textContent = short(Number(weights[k].toFixed(3)));
    });
    if (triangle) triangle.show();
  }

  function line(name, k) {
    const id = `w-${key}-${k}`;
    const output = el("output", { for: id });
    const input = el("input", {
      id, type: "range", min: 0, max: 1, step: 0.01,
      oninput: () => set(moved(weights, k, Number(input.value), locked)),
    });
    const lock = el("input", { type: "checkbox", "aria-label": `hold ${name}`, onchange: () => { locked[k] = lock.checked; } });
    const hold = names.length > 2 ? el("span", { class: "lock" }, lock, "hold") : null;
    return { input, output, node: el("div", { class: "line" }, el("label", { for: id }, name), output, hold, input) };
  }

  function draw() {
    const dot = svg("circle", { class: `dot ${key}`, r: 8 });
    const places = [["middle", 100, 12], ["end", 198, 188], ["start", 2, 188]];
    const labels = names.map((name, k) => svg("text", { x: places[k][1], y: places[k][2], "text-anchor": places[k][0] }, name));
    const node = svg("svg", {
      class: "triangle", viewBox: "0 0 200 194", tabindex: 0, role: "slider",
      "aria-label": `weights of ${key.toUpperCase()}: arrow keys move towards ${names[0]} (up), ${names[1]} (right), ${names[2]} (left)`,
      "aria-valuemin": 0, "aria-valuemax": 100,
    }, svg("polygon", { points: CORNERS.map((c) => c.join(",")).join(" ") }), labels, dot);
    const at = (event) => {
      const place = new DOMPoint(event.clientX, event.clientY).matrixTransform(node.getScreenCTM().inverse());
      set(toWeights([place.x, place.y], CORNERS));
    };
    node.addEventListener("pointerdown", (event) => { node.setPointerCapture(event.pointerId); at(event); });
    node.addEventListener("pointermove", (event) => { if (node.hasPointerCapture(event.pointerId)) at(event); });
    node.addEventListener("keydown", (event) => {
      const towards = { ArrowUp: 0, ArrowRight: 1, ArrowLeft: 2 }[event.key];
      if (towards === undefined && event.key !== "ArrowDown" && event.key !== "Home") return;
      event.preventDefault();
      const step = event.shiftKey ? 0.1 : 0.02;
      if (event.key === "Home") set(normalised(names.map(() => 1)));
      else if (event.key === "ArrowDown") set(moved(weights, 0, weights[0] - step));
      else set(moved(weights, towards, weights[towards] + step));
    });
    return {
      node,
      show: () => {
        const [x, y] = toPoint(weights, CORNERS);
        dot.setAttribute("cx", x);
        dot.setAttribute("cy", y);
        node.setAttribute("aria-valuenow", Math.round(weights[0] * 100));
        node.setAttribute("aria-valuetext", written(names, weights.map((w) => w.toFixed(2))));
      },
    };
  }

  return { get: () => weights.slice(), set: (next) => set(normalised(next), true) };
};
