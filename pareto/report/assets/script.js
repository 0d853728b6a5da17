"use strict";
// Pointing, sorting and filtering. Everything is drawn and readable without this script.
(() => {
  const report = JSON.parse(document.getElementById("data").textContent);
  const tip = document.querySelector(".tip");
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];
  const marks = new Map();
  for (const mark of all("[data-p]")) {
    const key = mark.dataset.p;
    marks.set(key, [...(marks.get(key) || []), mark]);
  }

  const policyOf = (key) => {
    const [run, policy] = key.split("-").map(Number);
    return { run: report.runs[run], policy: report.runs[run].policies[policy] };
  };
  const short = (x) => (x === null || x === undefined ? "\u2013" : String(Number(x.toPrecision(4))).replace("-", "\u2212"));

  // Pointing at a policy lights it up everywhere.
  let lit = null;
  const light = (key) => {
    if (lit !== key) {
      for (const mark of marks.get(lit) || []) mark.classList.remove("on");
      for (const mark of marks.get(key) || []) mark.classList.add("on");
      lit = key;
    }
  };
  const describe = (key) => {
    const { run, policy } = policyOf(key);
    const name = report.runs.length > 1 ? `${run.name} #${policy.label}` : `Policy #${policy.label}`;
    const lines = run.objectives.map((o, k) => {
      const asked = policy.weights ? ` (weight ${short(policy.weights[k])})` : "";
      return `${o.name} ${short(policy.values[k])}${asked}`;
    });
    return [name, ...lines].join("\n");
  };
  const show = (key, box) => {
    tip.textContent = describe(key);
    tip.hidden = false;
    const gap = 12;
    const right = box.right + gap + tip.offsetWidth < innerWidth;
    tip.style.left = `${Math.max(4, right ? box.right + gap : box.left - gap - tip.offsetWidth)}px`;
    tip.style.top = `${Math.min(Math.max(4, box.top - 8), innerHeight - tip.offsetHeight - 4)}px`;
  };
  document.addEventListener("pointerover", (event) => {
    const mark = event.target.closest("[data-p]");
    light(mark ? mark.dataset.p : null);
    if (mark && mark.ownerSVGElement) {
      const at = { left: event.clientX, right: event.clientX, top: event.clientY };
      show(mark.dataset.p, mark.tagName === "circle" ? mark.getBoundingClientRect() : at);
    } else tip.hidden = true;
  });
  document.addEventListener("focusin", (event) => {
    const row = event.target.closest("tr[data-p]");
    light(row ? row.dataset.p : null);
  });
  document.addEventListener("click", (event) => {
    const mark = event.target.closest("svg [data-p]");
    const row = mark && document.querySelector(`tr[data-p="${mark.dataset.p}"]`);
    if (row) row.focus();
  });

  // Arrow keys move along the rows; one row at a time is in the tab order.
  for (const row of all("tr[data-p]")) {
    row.addEventListener("keydown", (event) => {
      const next = { ArrowDown: row.nextElementSibling, ArrowUp: row.previousElementSibling }[event.key];
      if (!next) return;
      event.preventDefault();
      row.tabIndex = -1;
      next.tabIndex = 0;
      next.focus();
    });
  }

  // Sorting: first the larger numbers, then the smaller; what is not known stays last.
  const value = (row, path) => path.split(".").reduce((at, step) => (at === null || at === undefined ? null : at[step]), policyOf(row.dataset.p).policy);
  for (const head of all("th[data-k]")) {
    head.querySelector("button").addEventListener("click", () => {
      const table = head.closest("table");
      const path = head.dataset.k;
      const up = path === "label" || path === "id" || path === "kind";
      const now = head.getAttribute("aria-sort");
      const order = now === "none" ? (up ? "ascending" : "descending") : now === "ascending" ? "descending" : "ascending";
      for (const other of all("th[data-k]", table)) other.setAttribute("aria-sort", "none");
      head.setAttribute("aria-sort", order);
      const sign = order === "ascending" ? 1 : -1;
      const body = table.tBodies[0];
      const rows = [...body.rows].map((row) => ({ row, v: value(row, path) }));
      const collator = new Intl.Collator("en", { numeric: true });
      rows.sort((a, b) => {
        if (a.v === null || b.v === null || a.v === undefined || b.v === undefined) return (a.v ?? null) === (b.v ?? null) ? 0 : (a.v ?? null) === null ? 1 : -1;
        return sign * (typeof a.v === "number" ? a.v - b.v : collator.compare(a.v, b.v));
      });
      body.append(...rows.map(({ row }) => row));
    });
  }

  // Filtering along parallel coordinates: every objective keeps what lies between low and high, worst 0 to best 1.
  for (const brush of all(".brush")) {
    const r = Number(brush.dataset.run);
    const run = report.runs[r];
    const signs = run.objectives.map((o) => (o.direction === "max" ? 1 : -1));
    const better = run.policies.map((p) => p.values.map((v, k) => v * signs[k]));
    const worst = signs.map((_, k) => Math.min(...better.map((v) => v[k])));
    const best = signs.map((_, k) => Math.max(...better.map((v) => v[k])));
    const scaled = better.map((v) => v.map((x, k) => (best[k] > worst[k] ? (x - worst[k]) / (best[k] - worst[k]) : 0.5)));
    const kept = signs.map(() => [0, 1]);
    const sliders = all("input", brush);
    const figures = all("svg.parallel", brush.parentElement).map((svg) => {
      const [xs, top, bottom] = svg.dataset.axes.split(";");
      const bands = signs.map(() => {
        const band = document.createElementNS("http://www.w3.org/2000/svg", "rect");
        band.setAttribute("class", "band");
        svg.append(band);
        return band;
      });
      return { svg, bands, xs: xs.split(",").map(Number), top: Number(top), bottom: Number(bottom) };
    });

    const update = () => {
      let count = 0;
      scaled.forEach((v, i) => {
        const inside = v.every((x, k) => x >= kept[k][0] - 1e-9 && x <= kept[k][1] + 1e-9);
        count += inside;
        for (const mark of marks.get(`${r}-${i}`) || []) mark.classList.toggle("out", !inside);
      });
      brush.querySelector(".left").textContent = `${count} of ${scaled.length} policies`;
      sliders.forEach((slider, k) => {
        slider.value = Math.round(100 * kept[k][0]);
        const limit = signs[k] * (worst[k] + kept[k][0] * (best[k] - worst[k]));
        const words = kept[k][0] > 0 ? short(limit) : "any";
        slider.previousElementSibling.textContent = words;
        slider.setAttribute("aria-valuetext", words);
      });
      for (const { bands, xs, top, bottom } of figures) {
        bands.forEach((band, k) => {
          const [low, high] = kept[k];
          band.style.display = low > 0 || high < 1 ? "" : "none";
          band.setAttribute("x", xs[k] - 7);
          band.setAttribute("width", 14);
          band.setAttribute("y", bottom - high * (bottom - top));
          band.setAttribute("height", Math.max(0, (high - low) * (bottom - top)));
        });
      }
    };
    sliders.forEach((slider, k) => {
      slider.addEventListener("input", () => {
        kept[k] = [Number(slider.value) / 100, 1];
        update();
      });
    });
    brush.querySelector(".clear").addEventListener("click", () => {
      kept.forEach((_, k) => { kept[k] = [0, 1]; });
      update();
    });
    for (const { svg, xs, top, bottom } of figures) {
      let drag = null;
      const place = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
      const level = (y) => Math.min(1, Math.max(0, (bottom - y) / (bottom - top)));
      svg.addEventListener("pointerdown", (event) => {
        const at = place(event);
        const k = xs.findIndex((x) => Math.abs(x - at.x) < 18);
        if (k < 0) return;
        drag = { k, from: level(at.y) };
        svg.setPointerCapture(event.pointerId);
        event.preventDefault();
      });
      svg.addEventListener("pointermove", (event) => {
        if (!drag) return;
        const to = level(place(event).y);
        kept[drag.k] = Math.abs(to - drag.from) < 0.02 ? [0, 1] : [Math.min(drag.from, to), Math.max(drag.from, to)];
        update();
      });
      for (const end of ["pointerup", "pointercancel"]) {
        svg.addEventListener(end, (event) => {
          if (drag && end === "pointerup" && Math.abs(level(place(event).y) - drag.from) < 0.02) {
            kept[drag.k] = [0, 1];
            update();
          }
          drag = null;
        });
      }
    }
    update();
  }

  // A printed page has no closed drawers.
  addEventListener("beforeprint", () => {
    for (const drawer of all("details")) drawer.open = true;
  });
})();
