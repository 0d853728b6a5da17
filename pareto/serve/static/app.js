// The page: reads the front, puts the parts together, asks both panes.

import { get, keep, post, stream, token } from "./api.js";
import { chart, expected, table } from "./chart.js";
import { dial } from "./dial.js";
import { $, el } from "./parts.js";
import { curl, short, written } from "./simplex.js";
import { watching } from "./watch.js";

const DELAY_MS = 250; // a dial that is still moving asks for nothing
const panes = {};
let front, names, mark, running = null;

const trouble = (message) => {
  $("trouble").textContent = message;
  $("trouble").hidden = !message;
};

const begin = async () => {
  trouble("");
  try {
    front = await get("/v1/pareto/front");
  } catch (error) {
    $("key").hidden = error.status !== 401;
    if (error.status !== 401 || token()) trouble(error.message);
    if (error.status === 401) $("token").focus();
    return;
  }
  $("key").hidden = true;
  names = front.objectives.map((o) => o.name);
  document.title = `${front.name} · pareto`;
  $("name").textContent = front.name;
  $("front-part").hidden = false;
  mark = chart($("chart"), $("chart-says"), front, chosen);
  table($("policies"), front, chosen);
  query();
  if (front.kind === "agent") {
    $("about").textContent = "Agents of one run. Pick one by what it reaches, and watch it.";
    $("watch-part").hidden = false;
    watching(front, trouble, remember);
  } else text();
};

const text = () => {
  $("dial-part").hidden = false;
  const withWeights = front.policies.filter((p) => p.weights);
  const wanted = (k) => names.map((_, j) => (j === k ? 0.8 : 0.2 / Math.max(1, names.length - 1)));
  ["a", "b"].forEach((key, k) => {
    const host = $(`pane-${key}`);
    const reply = el("div", { class: "reply", id: `reply-${key}`, role: "log", "aria-live": "polite", "aria-label": `reply of ${key.toUpperCase()}`, tabindex: 0 });
    const facts = el("p", { class: "facts", id: `facts-${key}` });
    const start = wanted(k === 0 ? 0 : names.length - 1);
    panes[key] = { key, reply, facts, timer: null, about: null, dial: dial(host, key, names, start, () => later(panes[key])) };
    const again = el("button", { type: "button", class: "quiet", onclick: () => copy(request(panes[key], false)) }, "Copy as curl");
    host.append(reply, facts, again);
  });
  $("method").replaceChildren(...front.methods.map((m) => el("option", { value: m.name, title: m.summary }, m.name)));
  $("method").value = front.default_method;
  $("longest").max = String(front.limits.reply_tokens);
  $("prompt").value = front.sample_prompts[0] || "";
  $("samples").replaceChildren(...front.sample_prompts.slice(0, 4).map((p) =>
    el("button", { type: "button", onclick: () => { $("prompt").value = p; } }, p.length > 60 ? `${p.slice(0, 57)}…` : p)));
  if (!withWeights.length) trouble("These policies were made for no weights: choose one by its values.");
  $("ask").addEventListener("submit", (event) => { event.preventDefault(); both(); });
  $("stop").addEventListener("click", () => running && running.abort());
};

// One request of one pane.
const request = (pane, streamed) => ({
  model: front.name,
  messages: [{ role: "user", content: $("prompt").value }],
  max_tokens: Number($("longest").value) || 64,
  temperature: Number($("temperature").value),
  seed: Number($("seed").value),
  pareto: { weights: Object.fromEntries(pane.dial.get().map((w, k) => [names[k], Number(w.toFixed(4))])), method: $("method").value },
  ...(streamed ? { stream: true } : {}),
});

const ask = async (pane, signal) => {
  const body = request(pane, true);
  pane.reply.textContent = "";
  pane.reply.setAttribute("aria-busy", "true");
  try {
    await stream("/v1/chat/completions", body, signal, (told) => {
      if (told.pareto) say(pane, told.pareto);
      for (const choice of told.choices) pane.reply.append(choice.delta.content || "");
    });
    remember("/v1/chat/completions", { ...body, stream: undefined }, written(names, names.map((n) => body.pareto.weights[n])), body.messages[0].content, pane.reply.textContent);
  } finally {
    pane.reply.removeAttribute("aria-busy");
  }
};

const together = async (some) => {
  for (const pane of some) clearTimeout(pane.timer); // what a dial still waited for is asked now
  if (running) running.abort();
  const own = (running = new AbortController());
  trouble("");
  $("stop").disabled = false;
  const done = await Promise.allSettled(some.map((pane) => ask(pane, own.signal)));
  for (const one of done) if (one.status === "rejected" && one.reason.name !== "AbortError") trouble(one.reason.message);
  if (running === own) { running = null; $("stop").disabled = true; }
};

const both = () => ($("prompt").value.trim() ? together(Object.values(panes)) : trouble("Write a prompt first."));

const later = (pane) => {
  clearTimeout(pane.timer);
  pane.timer = setTimeout(() => { if (pane.reply.textContent && $("prompt").value.trim()) both(); }, DELAY_MS);
};

// What served a reply, beside what was measured near it.
const say = (pane, about) => {
  pane.about = about;
  const near = about.nearest_measured;
  const values = written(names, names.map((n) => near.values[n]));
  const how = Object.entries(about.shares).map(([id, c]) => `${short(c)} × ${id}`).join(" + ");
  pane.facts.textContent =
    `${about.method}: ${how}${about.extrapolated ? ", outside the simplex" : ""}. Nearest measured: ${near.policy} (${values})` +
    `${near.distance > 1e-9 ? `, ${short(near.distance)} away` : ", these very weights"}.`;
  const places = Object.values(panes).filter((p) => p.about).map((p) => ({
    key: p.key,
    values: expected(front, p.about.shares) || names.map((n) => p.about.nearest_measured.values[n]),
  }));
  mark(places);
  $("chart-says").textContent = "Rings: where A and B may be expected, on the line between the measured policies that they mix. Nothing was measured there.";
};

// A policy that was chosen on the picture, in the table or by a query.
const chosen = (policy) => {
  $("found").textContent = `${policy.id}: ${written(names, names.map((n) => policy.values[n]))}`;
  if (front.kind === "agent") {
    $("agent").value = policy.id;
    mark([{ key: "a", values: names.map((n) => policy.values[n]) }]);
  } else if (policy.weights) panes.a.dial.set(names.map((n) => policy.weights[n]));
};

const query = () => {
  const first = front.objectives[0], last = front.objectives.at(-1);
  const middle = front.policies.map((p) => p.values[first.name]).sort((a, b) => a - b)[Math.floor(front.policies.length / 2)];
  $("query").value = names.length > 1 ? `${first.name} ${first.direction === "min" ? "<=" : ">="} ${Number(middle.toPrecision(3))}, ${last.direction} ${last.name}` : `${first.direction} ${first.name}`;
  const pick = async (body) => {
    trouble("");
    try {
      chosen((await (await post("/v1/pareto/select", body)).json()).policy);
    } catch (error) { $("found").textContent = error.message; }
  };
  $("find").addEventListener("click", () => pick({ at: $("query").value }));
  $("query").addEventListener("keydown", (e) => { if (e.key === "Enter") { e.preventDefault(); pick({ at: $("query").value }); } });
  const inputs = front.objectives.map((o) => el("input", { type: "number", step: "any", value: o.direction === "min" ? -1 : 1, "aria-label": `worth of one unit of ${o.name}` }));
  $("utility").append(
    ...inputs.map((input, k) => el("div", { class: "row" }, input, el("span", {}, names[k]))),
    el("button", { type: "button", class: "quiet", onclick: () => pick({ utility: Object.fromEntries(inputs.map((i, k) => [names[k], Number(i.value)])) }) }, "Best for that"));
};

const remember = (path, body, weights, prompt, reply) => {
  $("history-part").hidden = false;
  const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const row = el("tr", {}, el("td", {}, time), el("td", {}, weights), el("td", { class: "text" }, prompt), el("td", { class: "text" }, reply),
    el("td", {}, el("button", { type: "button", class: "quiet", onclick: () => copy(body, path) }, "copy as curl")));
  const rows = $("history").tBodies[0];
  rows.prepend(row);
  while (rows.rows.length > 50) rows.deleteRow(-1);
};

const copy = async (body, path = "/v1/chat/completions") => {
  const command = curl(location.origin, path, body, Boolean(token()));
  try {
    await navigator.clipboard.writeText(command);
    $("copied").textContent = "Copied.";
  } catch {
    $("copied").replaceChildren(el("pre", {}, command)); // no clipboard here: the command itself, to be selected
  }
  $("history-part").hidden = false;
};

$("key").addEventListener("submit", (event) => { event.preventDefault(); keep($("token").value.trim()); begin(); });
begin();
