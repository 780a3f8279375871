// A running mean over the steps, and what leaves in training and in inference mode.

"use strict";

explorable("running-averages", {
  mean: (list) => list.reduce((sum, v) => sum + v, 0) / list.length,
  level: (k, { jump }, { level, jumpAt }) => level + (k > jumpAt ? jump : 0),

  batch(k, state, data) {
    const now = this.level(k, state, data);
    return data.draws[k - 1].slice(0, state.m).map((v) => now + v / 100);
  },

  variance(x) {
    const middle = this.mean(x);
    return this.mean(x.map((v) => (v - middle) ** 2));
  },

  // Running mean, what is expected of it and running variance, after every step.
  course(state, data) {
    let [mean, expected, variance] = [0, 0, 1];
    if (state.start === "settled") {
      expected = data.level;
      mean = expected + data.first * this.noise(state, 1);
    }
    return data.draws.map((_, i) => {
      const x = this.batch(i + 1, state, data), { w, m } = state;
      mean = (1 - w) * mean + w * this.mean(x);
      expected = (1 - w) * expected + w * this.level(i + 1, state, data);
      variance = (1 - w) * variance + w * m / (m - 1) * this.variance(x);
      return { batch: this.mean(x), mean, expected, variance };
    });
  },

  noise: ({ w, m, start }, k) => Math.sqrt(w / (2 - w) * (start === "zero" ? 1 - (1 - w) ** (2 * k) : 1) / m),

  // Steps since the mean that is followed now came up: the jump, or the start.
  moved: ({ jump, k }, { jumpAt }) => jump && k > jumpAt ? k - jumpAt : k,

  // What leaves in both modes.
  leaving(state, data, now) {
    const x = this.batch(state.k, state, data);
    const by = (mean, variance) => x.map((v) => (v - mean) / Math.sqrt(variance + data.eps));
    return { training: by(this.mean(x), this.variance(x)), inference: by(now.mean, now.variance) };
  },

  values(state, data) {
    const course = this.course(state, data), now = course[state.k - 1];
    const moments = (y) => [y[0], this.mean(y), Math.sqrt(this.variance(y))];
    const leaves = this.leaving(state, data, now), usual = { ...state, w: data.usual };
    return {
      mean: now.mean, var: now.variance, batch: now.batch, expected: now.expected,
      noise: this.noise(state, state.k),
      usual: [this.course(usual, data)[state.k - 1].expected, this.noise(usual, state.k)],
      past: (1 - state.w) ** this.moved(state, data),
      trail: course.map(({ mean }) => mean).filter((_, i) => i % 10 === 9),
      leaves: { training: moments(leaves.training), inference: moments(leaves.inference) },
    };
  },

  // How much the average has of what it was.
  was(state, { past }, data) {
    const weight = `still has the weight ${explorable.fixed(100 * past, 0)} %`;
    if (this.moved(state, data) < state.k) return `What it was at step ${data.jumpAt} ${weight}`;
    return state.start === "zero" ? `The 0 that it started with ${weight}` : "It had settled long before step 1";
  },

  sentence(state, values, data) {
    const { fixed } = explorable, { mean, expected, noise, usual, leaves } = values;
    const other = state.w === data.usual ? "" : ` (with w = 0.1, ${fixed(usual[0])} ± ${fixed(usual[1], 3)})`;
    return `After step ${state.k} the running mean is ${fixed(mean)}, the data's ${fixed(this.level(state.k, state, data))}; `
      + `theory expects ${fixed(expected)} ± ${fixed(noise, 3)}${other}. ${this.was(state, values, data)}. The mini-batch leaves `
      + `with mean ${fixed(leaves.training[1])} in training mode, ${fixed(leaves.inference[1])} in inference mode, which divides `
      + `by the root of the running variance, ${fixed(values.var)}.`;
  },

  // What each kind of drawing stands for; returns the groups, by their words.
  legend(stage, entries, y) {
    const path = (x) => ({ d: `M${x} ${y}h18` });
    const dot = (x, r) => ({ cx: x + 9, cy: y, r });
    const drawn = {
      "mini-batches": ["circle", "speck", (x) => dot(x, 2.5)], data: ["path", "axis", path], average: ["path", "line value", path],
      "expected ±": ["path", "band key", path], "w = 0.1": ["path", "line value dashed thin", path],
      "example 1": ["circle", "speck gradient", (x) => dot(x, 5)], others: ["circle", "speck value", (x) => dot(x, 3.2)],
      mean: ["path", "mean", (x) => ({ d: `M${x + 9} ${y - 8}v16` })], "± std": ["path", "band key", path],
    };
    return Object.fromEntries(entries.map(([words, x]) => {
      const [tag, kind, place] = drawn[words], group = stage.add("g");
      stage.add(tag, { class: kind, ...place(x) }, null, group);
      stage.add("text", { class: "start", x: x + 24, y }, words, group);
      return [words, group];
    }));
  },

  draw(stage) {
    const { beyond, clamp, fixed, place, scale } = explorable;
    const { data } = stage, { steps, jumpAt, rows, frame, line: limits } = data;
    const [left, top, right, bottom] = frame;
    const x = scale([0, steps], [left, right]), out = scale([-6, 6], [left, right]);
    const path = (points) => `M${points.map((p) => p.join(" ")).join("L")}`;
    const inside = stage.frame(frame), add = (tag, of) => stage.add(tag, of, null, inside);

    const band = add("path", { class: "band filled" });
    const dashes = add("path", { class: "line value dashed thin", "data-mark": "usual" });
    const truth = add("path", { class: "axis", "data-mark": "data" });
    const specks = data.draws.map((_, i) => ({
      head: stage.add("path", { class: "beyond" }), cx: x(i + 1), dot: add("circle", { class: "speck", cx: x(i + 1), r: 2.5 }),
    }));
    const line = add("path", { class: "line value", "data-mark": "course" });
    stage.add("path", { class: "axis", d: `M${left} ${bottom + 2}H${right}` });
    for (let k = 0; k <= steps; k += 25) stage.add("text", { class: "tick", x: x(k), y: bottom + 15 }, k);
    const sets = Object.entries(data.scales).map(([name, { means, ticks }]) => {
      const made = stage.add("g"), y = scale(means, [bottom, top]);
      for (const words of ticks) stage.add("text", { class: "reading", x: 36, y: y(Number(words.replace("−", "-"))) }, words, made);
      return [name, { made, y }];
    });
    const guide = stage.add("path", { class: "guide" });
    const own = stage.add("circle", { class: "speck solid", r: 5, "data-mark": "batch" });
    const heads = ["", "value"].map((color, i) => stage.add("path", { class: `beyond ${color}`, "data-mark": `${["batch", "mean"][i]}_beyond` }));
    stage.add("text", { class: "name", x: left, y: 20 }, "running mean");
    const legend = stage.add("text", { class: "reading", x: right, y: 20 });
    const keys = this.legend(stage, data.above, 44);
    this.legend(stage, data.below, 464);

    const wide = stage.frame(limits);
    const lines = Object.entries(rows).map(([mode, row]) => {
      const spread = stage.add("path", { class: "band", "stroke-width": 25, "data-mark": `band_${mode}` }, null, wide);
      stage.add("path", { class: "axis", d: `M${left} ${row}H${right}` });
      stage.add("text", { class: "name", x: left, y: row - 26 }, `leaves in ${mode}`);
      const said = stage.add("text", { class: "reading", x: right, y: row - 26 });
      const mean = stage.add("path", { class: "mean", "data-mark": `mean_${mode}` });
      const dots = data.draws[0].map(() => stage.add("circle", { class: "speck value", cy: row, r: 3.2 }));
      const ends = ["least", "most"].map((name) => stage.add("path", { class: "beyond value", "data-mark": `${name}_${mode}` }));
      const off = ["mean", "first"].map((name) => (
        stage.add("path", { class: name === "mean" ? "beyond" : "beyond gradient", "data-mark": `${name}_${mode}_beyond` })
      ));
      const first = stage.add("circle", { class: "speck gradient", cy: row, r: 5, "data-mark": `first_${mode}` });
      return { mode, row, spread, said, mean, dots, first, ends, off };
    });
    for (let v = -6; v <= 6; v += 2) {
      stage.add("path", { class: "axis", d: `M${out(v)} ${rows.inference}v6` });
      stage.add("text", { class: "tick", x: out(v), y: rows.inference + 26 }, String(v).replace("-", "−"));
    }
    const handle = stage.handle(["k"], "step", ([at]) => ({ k: x.invert(at) }));
    handle.classList.add("value");
    handle.dataset.mark = "mean";
    stage.add("circle", { class: "dot small" }, null, handle);

    return (state, values) => {
      for (const [name, { made }] of sets) made.toggleAttribute("hidden", name !== state.axis);
      const up = Object.fromEntries(sets)[state.axis].y, at = x(state.k);
      const edge = (of, sign) => this.course(of, data).map(({ expected }, i) => [x(i + 1), up(expected + sign * this.noise(of, i + 1))]);
      const course = this.course(state, data), usual = { ...state, w: data.usual };
      place(band, { d: `${path([...edge(state, 1), ...edge(state, -1).reverse()])}Z` });
      place(dashes, { d: path(edge(usual, -1)) + path(edge(usual, 1)) });
      for (const part of [dashes, keys["w = 0.1"]]) part.toggleAttribute("hidden", state.w === data.usual);
      const [before, after] = [jumpAt, steps].map((k) => up(this.level(k, state, data)));
      place(truth, { d: `M${left} ${before}H${x(jumpAt + 0.5)}V${after}H${right}` });
      course.forEach(({ batch }, i) => {
        const { head, dot, cx } = specks[i];
        place(dot, { cy: up(batch) });
        beyond(head, [cx, up(batch)], frame, 7);
      });
      place(line, { d: path(course.map(({ mean }, i) => [x(i + 1), up(mean)])) });
      place(guide, { d: `M${at} ${top}V${bottom + 2}` });
      place(own, { cx: at, cy: up(values.batch) });
      own.toggleAttribute("hidden", beyond(heads[0], [at, up(values.batch)], frame));
      place(handle, { transform: `translate(${at} ${clamp(up(values.mean), top, bottom)})` });
      handle.toggleAttribute("data-off", beyond(heads[1], [at, up(values.mean)], frame));
      legend.textContent = `step ${state.k}: ${fixed(values.mean)}, expected ${fixed(values.expected)} ± ${fixed(values.noise, 3)}`;
      const leaves = this.leaving(state, data, course[state.k - 1]);
      for (const { mode, row, spread, said, mean, dots, first, ends, off } of lines) {
        const [one, middle, deviation] = values.leaves[mode];
        place(spread, { d: `M${out(middle - deviation)} ${row}H${out(middle + deviation)}` });
        place(mean, { d: `M${out(middle)} ${row - 15}V${row + 15}` });
        mean.toggleAttribute("hidden", beyond(off[0], [out(middle), row + 15], limits));
        const divided = mode === "inference" ? `running variance ${fixed(values.var)}: ` : "";
        said.textContent = `${divided}${fixed(middle)} ± ${fixed(deviation)}`;
        dots.forEach((dot, i) => {
          const cx = out(leaves[mode][i] ?? 0);
          dot.toggleAttribute("hidden", i >= state.m || cx < left || cx > right);
          place(dot, { cx });
        });
        [Math.min, Math.max].forEach((far, i) => beyond(ends[i], [out(far(...leaves[mode])), row], limits));
        place(first, { cx: out(one) });
        first.toggleAttribute("hidden", beyond(off[1], [out(one), row], limits));
      }
    };
  },
});
