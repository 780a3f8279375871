// What a layer receives, its nonlinearity, what leaves, and how much gradient it passes on.

"use strict";

explorable("saturation", {
  // Quantiles of a standard normal variable, and their weights.
  nodes: (() => {
    const at = Array.from({ length: 1024 }, (_, i) => (2 * (i - 512) + 1) / 128);
    const density = at.map((n) => Math.exp(-n * n / 2));
    const all = density.reduce((sum, d) => sum + d, 0);
    return { at, weights: density.map((d) => d / all) };
  })(),

  // A nonlinearity and its slope.
  function(name, z) {
    if (name === "relu") return [Math.max(z, 0), z > 0 ? 1 : 0];
    const k = name === "tanh" ? 2 : 1;
    const e = Math.exp(-Math.abs(k * z));
    const slope = k * k * e / (1 + e) ** 2;
    if (name === "tanh") return [Math.tanh(z), slope];
    return [(z < 0 ? e : 1) / (1 + e), slope];
  },

  mean(of) {
    return this.nodes.weights.reduce((sum, weight, i) => sum + weight * of(i), 0);
  },

  values(state, { peak, flat, shown }) {
    const { f, s, b } = state, normed = state.norm === "on";
    const factors = [];
    let rms = 1, spread, z, made, std, weight, left;
    for (let layer = 1; layer <= state.layers; layer++) {
      spread = s * rms;
      z = normed ? this.nodes.at : this.nodes.at.map((n) => b + spread * n);
      made = z.map((v) => this.function(f, v));
      rms = Math.sqrt(this.mean((i) => made[i][0] ** 2));
      const mean = this.mean((i) => made[i][0]);
      left = Math.sqrt(this.mean((i) => made[i][1] ** 2));
      std = Math.sqrt(this.mean((i) => (made[i][0] - mean) ** 2));
      weight = normed ? 1 / std : s;
      factors.push(weight * left);
    }
    const powers = [0], below = factors.slice(0, -1);
    for (const factor of [...below].reverse()) powers.unshift(powers[0] + Math.log10(factor));
    return {
      spread, std, flat: this.outside(z, normed ? 1 : spread, flat[f]),
      ceiling: weight * peak[f], slope: left / peak[f], factor: factors.at(-1),
      arrives: below.reduce((all, factor) => all * factor, 1),
      powers: powers.map((p) => Number.isFinite(p) ? p : null),
      received: this.heap(z, [-8, 8], 32),
      left: this.heap(made.map(([h]) => h), shown[f], 14),
    };
  },

  heap(x, [low, high], bins) {
    const shares = Array(bins).fill(0);
    x.forEach((v, i) => {
      shares[explorable.clamp(Math.floor((v - low) / (high - low) * bins), 0, bins - 1)] += this.nodes.weights[i];
    });
    return shares;
  },

  // Share of each input's cell, as wide as its quantile, that is not in between.
  outside(z, spread, [low, high]) {
    const half = Math.max(spread / 128, 1e-9), cut = (v) => explorable.clamp(v / (2 * half), 0, 1);
    return this.mean((i) => cut(low - z[i] + half) + cut(z[i] + half - high));
  },

  amount(value) {
    const { fixed } = explorable;
    if ((value >= 0.05 && value < 1000) || value === 0) return fixed(value);
    let power = Math.floor(Math.log10(value) + 1e-9);
    let digits = fixed(value / 10 ** power, 1);
    if (digits === "10.0") [digits, power] = ["1.0", power + 1];
    return `${digits}·10${String(power).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)])}`;
  },

  sentence(state, values, { names, peak, where }) {
    const { fixed } = explorable, { amount } = this, { f, layers } = state;
    const normed = state.norm === "on", std = fixed(values.std, 3);
    const has = normed ? "normalized to spread by 1 around 0"
      : `that spread by ${amount(values.spread)} around ${fixed(state.b, 1)}`;
    const why = !normed ? "" : ` The ceiling is ${fixed(peak[f])} / ${std}: normalization divides by the spread over the batch `
      + `of what leaves, ${std}.`;
    return `Layer ${layers} has inputs ${has}; ${fixed(100 * values.flat, 0)} % lie where ${names[f]} is flat (${where[f]}). `
      + `It passes on ${amount(values.ceiling)} × ${amount(values.slope)} = ${amount(values.factor)} of the gradient.${why} `
      + `Layer 1 gets ${amount(values.arrives)} times what layer ${layers} has.`;
  },

  draw(stage) {
    const { beyond, place, scale } = explorable;
    const { names, peak, flat, shown, signs, rows, bars: limits, frame } = stage.data;
    const base = 322, foot = 340, wall = 326;
    const to = scale([-8, 8], [32, 300]), log = scale([-2, 1], [500, 640]);
    const layer = scale([1, 20], [500, 680]), power = scale([4, -12], [200, 322]);
    const decades = (value) => log(value > 0 ? Math.log10(value) : -99);
    const text = (kind, x, y, words) => stage.add("text", { class: kind, x, y }, words);
    const axis = (d) => stage.add("path", { class: "axis", d });

    const heap = (name, bins) => Array.from({ length: bins }, (_, i) => (
      stage.add("path", { class: "bar value", "data-mark": `${name}_${i}` })
    ));
    const received = heap("in", 32), left = heap("out", 14);
    const band = stage.add("path", { class: "band", "stroke-width": 25, "data-mark": "band" });
    const curve = stage.add("path", { class: "mean" });
    axis(`M${to(-8)} ${base}H${to(8)}`);
    axis(`M${wall} 30V170`);
    const said = [[-8, "≤ −8"], [-4, "−4"], [0, "0"], [4, "4"], [8, "≥ 8"]];
    for (const [tick, words] of said) text("tick", to(tick), 374, words);
    const ends = [170, 30].map((y) => text("reading", wall - 6, y));
    const title = text("name", to(-8), 14);
    text("name", to(-8), 194, "receives");
    text("name", wall, 14, "leaves");

    text("name", 440, 14, "ceiling × slope");
    const bars = [["ceiling", "value"], ["slope", "gradient"], ["factor", "whole"]].map(([name, color]) => {
      const bar = stage.add("path", { class: `bar ${color}`, "data-mark": name });
      const end = stage.add("circle", { class: `speck solid ${color}`, cy: rows[name], r: 4.5, "data-mark": `end_${name}` });
      const head = stage.add("path", { class: `beyond ${color}`, "data-mark": `end_${name}_beyond` });
      text("reading", 480, rows[name], signs[name]);
      return { name, bar, end, head, said: text("reading", 698, rows[name]) };
    });
    axis(`M${log(0)} 28V120`);
    for (const [at, words] of [[-2, "0.01"], [0, "1"], [1, "10"]]) {
      axis(`M${log(at)} 116V120`);
      text("tick", log(at), 134, words);
    }
    text("name", 440, 174, "gradient, by layer");
    axis(`M500 ${power(0)}H680`);
    for (const [at, words] of [[0, "1"], [-6, "10⁻⁶"], [-12, "10⁻¹²"]]) {
      text("reading", 480, power(at), words);
    }
    for (const at of [1, 10, 20]) text("tick", layer(at), 344, at);
    const back = stage.add("path", { class: "line gradient" }, null, stage.frame(frame));
    const below = stage.add("path", { class: "beyond gradient", "data-mark": "arrives_beyond" });
    const arrives = stage.add("circle", { class: "dot gradient", r: 8, "data-mark": "arrives" });

    const handle = (name, label, move) => {
      const made = stage.handle([name], label, ([x]) => ({ [name]: move(x) }));
      made.classList.add("value");
      made.dataset.mark = name;
      stage.add("circle", { class: "dot", r: 8 }, null, made);
      return made;
    };
    const bias = handle("b", "center of what comes in", to.invert);
    const size = handle("s", "ceiling", (x) => 10 ** log.invert(x) / peak[stage.figure.state.f]);

    return (state, values) => {
      const { f, b } = state, [low, high] = flat[f], [bottom, top] = shown[f];
      title.textContent = names[f];
      ends.forEach((end, i) => { end.textContent = String(shown[f][i]).replace("-", "−"); });
      const height = scale(shown[f], [170, 30]);
      const most = [values.received, values.left].map((shares) => Math.max(...shares));
      received.forEach((bar, i) => {
        const z = -7.75 + i / 2, dull = z < low || z > high;
        place(bar, { class: `bar ${dull ? "gradient" : "value"}`, d: `M${to(z)} ${base}V${base - 110 * values.received[i] / most[0]}` });
      });
      left.forEach((bar, i) => {
        const y = height(bottom + (top - bottom) * (i + 0.5) / 14);
        place(bar, { d: `M${wall} ${y}H${wall + 50 * values.left[i] / most[1]}` });
      });
      place(band, { d: `M${to(Math.max(b - values.spread, -8))} ${foot}H${to(Math.min(b + values.spread, 8))}` });
      const path = Array.from({ length: 129 }, (_, i) => `${to(i / 8 - 8)} ${height(this.function(f, i / 8 - 8)[0])}`);
      place(curve, { d: `M${path.join("L")}` });

      for (const { name, bar, end, head, said } of bars) {
        const at = decades(values[name]), off = beyond(head, [at, rows[name]], limits);
        place(bar, { d: `M${log(0)} ${rows[name]}H${Math.max(at, limits[0])}` });
        place(end, { cx: at });
        end.toggleAttribute("hidden", off || (name === "ceiling" && state.norm === "off"));
        said.textContent = this.amount(values[name]);
      }
      const line = values.powers.map((p, i) => [layer(i + 1), power(p ?? -99)]).reverse();
      place(back, { d: `M${line.map((point) => point.join(" ")).join("L")}` });
      const [cx, cy] = line.at(-1);
      place(arrives, { cx, cy });
      arrives.toggleAttribute("hidden", beyond(below, [cx, cy], frame));
      place(bias, { transform: `translate(${to(b)} ${foot})` });
      place(size, { transform: `translate(${decades(values.ceiling)} ${rows.ceiling})` });
      size.toggleAttribute("hidden", state.norm === "on");
    };
  },
});
