// Weights on the simplex, and the arithmetic of dials; nothing here touches a page.

export const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);

/** Numbers >= 0 divided by their sum; equal ones where they are all 0. */
export const normalised = (numbers) => {
  const clean = numbers.map((x) => (Number.isFinite(x) && x > 0 ? x : 0));
  const total = sum(clean);
  return clean.map((x) => (total > 0 ? x / total : 1 / clean.length));
};

/**
 * Weights after one of them was moved: the free others keep their proportions and take the rest.
 * locked[k] says that weight k stays as it is.
 */
export const moved = (weights, k, value, locked = []) => {
  const held = sum(weights.filter((_, j) => j !== k && locked[j]));
  const free = weights.map((_, j) => j !== k && !locked[j]);
  if (!free.some(Boolean)) return weights.slice();
  const own = Math.min(Math.max(value, 0), Math.max(0, 1 - held));
  const rest = 1 - held - own;
  const before = sum(weights.filter((_, j) => free[j]));
  const n = free.filter(Boolean).length;
  return weights.map((w, j) => (j === k ? own : free[j] ? (before > 0 ? (w / before) * rest : rest / n) : w));
};

/** A point of a triangle with the given corners as weights; points outside are taken to the nearest edge or corner. */
export const toWeights = ([x, y], [[x0, y0], [x1, y1], [x2, y2]]) => {
  const whole = (y1 - y2) * (x0 - x2) + (x2 - x1) * (y0 - y2);
  const a = ((y1 - y2) * (x - x2) + (x2 - x1) * (y - y2)) / whole;
  const b = ((y2 - y0) * (x - x2) + (x0 - x2) * (y - y2)) / whole;
  return normalised([a, b, 1 - a - b]);
};

/** The point of a triangle that stands for three weights. */
export const toPoint = (weights, corners) => [0, 1].map((axis) => sum(weights.map((w, k) => w * corners[k][axis])));

/** Numbers as people read them: four figures, a true minus sign. */
export const short = (x) => (x === null || x === undefined ? "–" : String(Number(Number(x).toPrecision(4))).replace("-", "−"));

/** "a 0.7, b 0.3" */
export const written = (names, numbers) => names.map((name, k) => `${name} ${short(numbers[k])}`).join(", ");

/** A text as one word of a POSIX shell. */
export const quoted = (text) => `'${text.replaceAll("'", "'\\''")}'`;

/** A request as a curl command. */
export const curl = (origin, path, body, withToken) =>
  [
    `curl ${origin}${path}`,
    "-H 'content-type: application/json'",
    ...(withToken ? ['-H "authorization: Bearer $PARETO_TOKEN"'] : []),
    `-d ${quoted(JSON.stringify(body))}`,
  ].join(" \\\n  ");

/** Round numbers for an axis from low to high. */
export const ticks = (low, high, n = 4) => {
  const span = high - low || 1;
  const raw = span / n;
  const power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 5, 10].map((m) => m * power).find((s) => s >= raw);
  const found = [];
  for (let t = Math.ceil(low / step - 1e-9) * step; t <= high + 1e-9 * span; t += step) found.push(Number(t.toPrecision(12)));
  return found;
};

/** Pull whole events out of a stream of server-sent events: [events, what is left]. */
export const parsed = (buffer) => {
  const parts = buffer.split("\n\n");
  const rest = parts.pop();
  return [parts.filter((p) => p.startsWith("data: ")).map((p) => p.slice(6)), rest];
};
