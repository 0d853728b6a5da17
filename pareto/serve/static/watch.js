// An agent's episode: pictures where there are any, else what it saw, did and got, step by step.

import { $, el, svg } from "./parts.js";
import { post } from "./api.js";
import { short, written } from "./simplex.js";

const STEP_MS = 120;

export const watching = (front, trouble, remember) => {
  const names = front.objectives.map((o) => o.name);
  let steps = [], timer = null;
  const stop = () => { clearInterval(timer); timer = null; $("play").textContent = "Play"; };
  const start = () => {
    stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return;
    $("play").textContent = "Pause";
    timer = setInterval(() => {
      const next = Number($("step").value) + 1;
      if (next >= steps.length) { stop(); return; }
      show(next);
    }, STEP_MS);
  };
  const show = (i) => {
    const at = steps[i];
    $("step").value = String(i);
    $("step").setAttribute("aria-valuetext", `step ${i + 1} of ${steps.length}`);
    const got = written(names, names.map((n) => at.reward[n]));
    $("step-says").textContent = `step ${i + 1} of ${steps.length} · saw ${JSON.stringify(at.observation)} · did ${JSON.stringify(at.action)} · got ${got}`;
    $("frame").hidden = !at.frame;
    if (at.frame) { $("frame").src = at.frame; $("frame").alt = `the environment at step ${i + 1}`; }
    const cursor = document.querySelector("#returns .cursor");
    if (cursor) cursor.setAttribute("transform", `translate(${40 + (i / Math.max(1, steps.length - 1)) * 400} 0)`);
  };
  $("agent").replaceChildren(...front.policies.map((p) =>
    el("option", { value: p.id }, `${p.id}: ${written(names, names.map((n) => p.values[n]))}${p.non_dominated ? "" : " (dominated)"}`)));
  $("step").addEventListener("input", () => { stop(); show(Number($("step").value)); });
  $("play").addEventListener("click", () => (timer ? stop() : start()));
  $("watch").addEventListener("submit", async (event) => {
    event.preventDefault();
    stop();
    trouble("");
    const body = { pareto: { policy: $("agent").value }, seed: Number($("episode-seed").value), steps: Number($("steps").value), frames: $("frames").checked };
    try {
      const played = await (await post("/v1/pareto/rollout", body)).json();
      steps = played.steps;
      $("episode").hidden = false;
      const sums = written(names, names.map((n) => played.sums[n]));
      $("episode-says").textContent = `${played.policy}: ${steps.length} steps, ended by ${played.end}; sums of rewards: ${sums}`;
      $("step").max = String(steps.length - 1);
      $("returns").replaceChildren(lines(steps, names));
      show(0);
      start();
      remember("/v1/pareto/rollout", body, played.policy, `seed ${body.seed}`, $("episode-says").textContent);
    } catch (error) { trouble(error.message); }
  });
};

const lines = (steps, names) => {
  const sums = names.map((n) => { let total = 0; return steps.map((s) => (total += s.reward[n])); });
  const all = sums.flat().concat(0);
  const low = Math.min(...all), high = Math.max(...all);
  const x = (i) => 40 + (i / Math.max(1, steps.length - 1)) * 400;
  const y = (v) => 130 - ((v - low) / (high - low || 1)) * 115;
  const colours = ["var(--accent)", "var(--second)", "var(--ink)", "var(--muted)"];
  const label = `sums of rewards so far: ${names.map((n, k) => `${n} ends at ${short(sums[k].at(-1))}`).join(", ")}`;
  return svg("svg", { viewBox: "0 0 460 150", role: "img", "aria-label": label },
    svg("path", { class: "axis", d: "M40 10V130H440" }),
    [low, high].map((v) => svg("text", { class: "tick", x: 36, y: y(v) + 4, "text-anchor": "end" }, short(v))),
    sums.map((row, k) => svg("polyline", { fill: "none", "stroke-width": 2, stroke: colours[k % 4], points: row.map((v, i) => `${x(i)},${y(v)}`).join(" ") })),
    names.map((n, k) => svg("text", { class: "line-name", x: 46 + k * 100, y: 146, fill: colours[k % 4] }, n)),
    svg("path", { class: "axis cursor", d: "M0 10V130" }));
};
