// A running mean over the steps, and what leaves in training and in inference mode.

"use strict";

explorable("running-averages", {
  mean: (list) => list.reduce((sum, v) => sum + v, 0) / list.length,
  level: (k, { jump }, { start, jumpAt }) => start + (k > jumpAt ? jump : 0),

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
    return data.draws.map((_, i) => {
      const x = this.batch(i + 1, state, data), { w, m } = state;
      mean = (1 - w) * mean + w * this.mean(x);
      expected = (1 - w) * expected + w * this.level(i + 1, state, data);
      variance = (1 - w) * variance + w * m / (m - 1) * this.variance(x);
      return { batch: this.mean(x), mean, expected, variance };
    });
  },

  noise: ({ w, m }, k) => Math.sqrt(w / (2 - w) * (1 - (1 - w) ** (2 * k)) / m),

  // Steps since the mean that is followed now came up: the jump, or the start.
  moved: ({ jump, k }, { jumpAt }) => jump && k > jumpAt ? k - jumpAt : k,

  // What leaves in both modes.
  leaving(state, data, now) {
    const x = this.batch(state.k, state, data);
    const by = (mean, variance) => x.map((v) => (v - mean) / Math.sqrt(variance + data.eps));
    return { train: by(this.mean(x), this.variance(x)), eval: by(now.mean, now.variance) };
  },

  values(state, data) {
    const course = this.course(state, data), now = course[state.k - 1];
    const moments = (y) => [y[0], this.mean(y), Math.sqrt(this.variance(y))];
    const leaves = this.leaving(state, data, now);
    return {
      mean: now.mean, var: now.variance, batch: now.batch, expected: now.expected,
      noise: this.noise(state, state.k),
      missing: (1 - state.w) ** this.moved(state, data),
      trail: course.map(({ mean }) => mean).filter((_, i) => i % 10 === 9),
      leaves: { train: moments(leaves.train), eval: moments(leaves.eval) },
    };
  },

  sentence(state, { mean, expected, noise, missing, leaves }, data) {
    const { fixed } = explorable;
    const since = this.moved(state, data) === state.k ? "the start" : "the jump";
    return `After step ${state.k} the running mean is ${fixed(mean)}, the data's ${fixed(this.level(state.k, state, data))}; `
      + `theory expects ${fixed(expected)} ± ${fixed(noise, 3)}. Of the way since ${since}, ${fixed(100 * missing, 0)} % is missing. `
      + `The mini-batch leaves with mean ${fixed(leaves.train[1])} in train, ${fixed(leaves.eval[1])} in eval.`;
  },

  draw(stage) {
    const { clamp, fixed, place, scale } = explorable;
    const { data } = stage, { steps, jumpAt, rows } = data;
    const [top, bottom, left, right] = [42, 226, 46, 674];
    const x = scale([0, steps], [left, right]), y = scale([-3, 5], [bottom, top]), out = scale([-6, 6], [left, right]);
    const up = (v) => clamp(y(v), top, bottom), across = (v) => clamp(out(v), left, right);
    const path = (points) => `M${points.map((p) => p.join(" ")).join("L")}`;
    const number = (v) => String(v).replace("-", "−");

    const band = stage.add("path", { class: "band filled" });
    const truth = stage.add("path", { class: "axis", "data-mark": "data" });
    const specks = data.draws.map((_, i) => stage.add("circle", { class: "speck", cx: x(i + 1), r: 2.5 }));
    const line = stage.add("path", { class: "line value", "data-mark": "course" });
    stage.add("path", { class: "axis", d: `M${left} ${bottom + 2}H${right}` });
    for (let k = 0; k <= steps; k += 25) stage.add("text", { class: "tick", x: x(k), y: bottom + 15 }, k);
    for (const v of [-2, 0, 2, 4]) stage.add("text", { class: "reading", x: 36, y: y(v) }, number(v));
    const guide = stage.add("path", { class: "guide" });
    const own = stage.add("circle", { class: "speck solid", r: 5, "data-mark": "batch" });
    stage.add("text", { class: "name", x: left, y: 20 }, "running mean");
    const legend = stage.add("text", { class: "reading", x: right, y: 20 });

    const lines = Object.entries(rows).map(([mode, row]) => {
      const spread = stage.add("path", { class: "band", "stroke-width": 25, "data-mark": `band_${mode}` });
      stage.add("path", { class: "axis", d: `M${left} ${row}H${right}` });
      stage.add("text", { class: "name", x: left, y: row - 26 }, `leaves in ${mode}`);
      const said = stage.add("text", { class: "reading", x: right, y: row - 26 });
      const mean = stage.add("path", { class: "mean", "data-mark": `mean_${mode}` });
      const dots = data.draws[0].map(() => stage.add("circle", { class: "speck value", cy: row, r: 3.2 }));
      const first = stage.add("circle", { class: "speck gradient", cy: row, r: 5, "data-mark": `first_${mode}` });
      return { mode, row, spread, said, mean, dots, first };
    });
    for (let v = -6; v <= 6; v += 2) {
      stage.add("path", { class: "axis", d: `M${out(v)} ${rows.eval}v6` });
      stage.add("text", { class: "tick", x: out(v), y: rows.eval + 26 }, number(v));
    }
    const handle = stage.handle(["k"], "step", ([at]) => ({ k: x.invert(at) }));
    handle.classList.add("value");
    handle.dataset.mark = "mean";
    stage.add("circle", { class: "dot small" }, null, handle);

    return (state, values) => {
      const course = this.course(state, data), at = x(state.k);
      const edge = (sign) => course.map(({ expected }, i) => [x(i + 1), up(expected + sign * this.noise(state, i + 1))]);
      place(band, { d: `${path([...edge(1), ...edge(-1).reverse()])}Z` });
      const [before, after] = [jumpAt, steps].map((k) => up(this.level(k, state, data)));
      place(truth, { d: `M${left} ${before}H${x(jumpAt + 0.5)}V${after}H${right}` });
      course.forEach(({ batch }, i) => place(specks[i], { cy: up(batch) }));
      place(line, { d: path(course.map(({ mean }, i) => [x(i + 1), up(mean)])) });
      place(guide, { d: `M${at} ${top}V${bottom + 2}` });
      place(own, { cx: at, cy: up(values.batch) });
      place(handle, { transform: `translate(${at} ${up(values.mean)})` });
      legend.textContent = `step ${state.k}: ${fixed(values.mean)}, expected ${fixed(values.expected)} ± ${fixed(values.noise, 3)}`;
      const leaves = this.leaving(state, data, course[state.k - 1]);
      for (const { mode, row, spread, said, mean, dots, first } of lines) {
        const [one, middle, deviation] = values.leaves[mode];
        const [center, end] = [across(middle), across(middle + deviation)];
        place(spread, { d: `M${2 * center - end} ${row}H${end}` });
        place(mean, { d: `M${center} ${row - 15}V${row + 15}` });
        said.textContent = `${fixed(middle)} ± ${fixed(deviation)}`;
        dots.forEach((dot, i) => {
          dot.toggleAttribute("hidden", i >= state.m);
          if (i < state.m) place(dot, { cx: across(leaves[mode][i]) });
        });
        place(first, { cx: across(one) });
      }
    };
  },
});
