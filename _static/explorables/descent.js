// Gradient descent in the bowl of two columns, and the factor of a step at every rate.

"use strict";

explorable("descent", {
  // Covariance of the columns, its eigenvalues, and the angle of the axis across the valley.
  bowl({ unit, rho }, { spread: [years, kilometers] }) {
    const other = kilometers / unit;
    const a = years ** 2, b = rho * years * other, d = other ** 2;
    const high = (a + d) / 2 + Math.hypot((a - d) / 2, b);
    return { a, b, d, high, low: a * d * (1 - rho ** 2) / high, turn: Math.atan2(2 * b, a - d) / 2 };
  },

  values(state, data) {
    const { eta, e1, e2 } = state;
    const { a, b, d, low, high, turn } = this.bowl(state, data);
    const along = 1 - eta * low, across = 1 - eta * high;
    const q = Math.max(Math.abs(along), Math.abs(across));
    const path = [[e1, e2]];
    while (path.length <= 40 && Math.max(...path.at(-1).map(Math.abs)) < 2.5) {
      const [x, y] = path.at(-1);
      path.push([x - eta * (a * x + b * y), y - eta * (b * x + d * y)]);
    }
    let counted = null, predicted = null;
    if (q < 1 && (e1 || e2)) {
      predicted = Math.ceil(Math.log(1e-6) / (2 * Math.log(q)));
      const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
      let u = high * (cos * e1 + sin * e2) ** 2, v = low * (cos * e2 - sin * e1) ** 2;
      const goal = 1e-6 * (u + v);
      for (counted = 0; u + v > goal; counted++) [u, v] = [u * across ** 2, v * along ** 2];
    }
    return { low, high, kappa: high / low, limit: 2 / high, best: 2 / (low + high), along, across, path, counted, predicted };
  },

  sentence({ eta }, { kappa, along, across, limit, path, counted, predicted }) {
    const { fixed } = explorable;
    const bowl = `κ is ${fixed(kappa)}. A step multiplies the error by ${fixed(along)} along the valley and by `
      + `${fixed(across)} across it.`;
    if (!path[0][0] && !path[0][1]) return `${bowl} The descent starts at the minimum.`;
    if (counted === null) return `${bowl} It never arrives: the rate ${fixed(eta, 3)} is above 2/\u2060λmax = ${fixed(limit, 3)}.`;
    const drawn = counted > 40 ? ", of which 40 are drawn" : "";
    return `${bowl} The loss falls to a millionth in ${counted} steps${drawn}; at most ${predicted} are predicted. `
      + `The rate must stay below ${fixed(limit, 3)}.`;
  },

  draw(stage) {
    const { arrow, place, scale } = explorable;
    const w1 = scale([-1.25, 1.25], [26, 316]), w2 = scale([-1.25, 1.25], [316, 26]);
    const rate = scale([0, 0.25], [400, 670]), factor = scale([0, 1.6], [316, 36]);
    const at = ([x, y]) => [w1(x), w2(y)];
    const seen = (point) => point.every((v) => Math.abs(v) <= 1.25);
    const through = (points) => `M${points.map((point) => point.join(" ")).join("L")}`;
    const text = (kind, x, y, words) => stage.add("text", { class: kind, x, y }, words);
    const axis = (d) => stage.add("path", { class: "axis", d });

    const inside = stage.frame([26, 26, 316, 316]);
    const levels = stage.data.levels.map(() => stage.add("path", { class: "level" }, null, inside));
    axis("M26 26H316V316H26Z");
    const path = stage.add("path", { class: "line gradient", "data-mark": "path" }, null, inside);
    const leaves = stage.add("path", { class: "line gradient", "data-mark": "leaves" }, null, inside);
    const dots = Array.from({ length: 40 }, () => stage.add("circle", { class: "step", r: 3 }));
    dots[0].dataset.mark = "first";
    stage.add("path", { class: "mean", d: `M${w1(0) - 6} ${w2(0)}h12m-6 -6v12` });
    text("name", 26, 12, "error of the two weights");

    text("name", 400, 12, "factor");
    text("name said value", 500, 12, "along");
    text("name said gradient", 590, 12, "across");
    axis(`M400 36V${factor(0)}H670`);
    stage.add("path", { class: "axis dashed", d: `M400 ${factor(1)}H670` });
    for (const at of [0, 1]) text("tick", 386, factor(at), at);
    for (const at of [0.1, 0.2]) text("tick", rate(at), factor(0) + 28, at);
    text("tick start", 400, factor(0) + 28, "rate");
    const now = stage.add("path", { class: "axis dashed" });
    const lines = ["along", "across"].map((name) => {
      const color = name === "along" ? "value" : "gradient";
      return {
        name,
        line: stage.add("path", { class: `line ${color}`, "data-mark": `${name}_line` }),
        dot: stage.add("circle", { class: `step ${color}`, r: 5.5, "data-mark": name }),
      };
    });
    const ticks = [["best", 0], ["limit", 1]].map(([name, height]) => ({
      name, y: factor(height),
      tick: stage.add("path", { class: "mean", "data-mark": name }),
      said: text("reading halo", 0, factor(height) - (height ? 12 : 20), name),
    }));

    const handle = (controls, label, mark, color, to) => {
      const made = stage.handle(controls, label, to);
      made.classList.add(color);
      made.dataset.mark = mark;
      stage.add("circle", { class: "dot", r: 8 }, null, made);
      return made;
    };
    const start = handle(["e1", "e2"], "start", "start", "gradient", ([x, y]) => ({ e1: w1.invert(x), e2: w2.invert(y) }));
    const speed = handle(["eta"], "rate", "rate", "whole", ([x]) => ({ eta: rate.invert(x) }));

    return (state, values) => {
      const { low, high, turn } = this.bowl(state, stage.data);
      const [cos, sin] = [Math.cos(turn), Math.sin(turn)];
      levels.forEach((level, i) => {
        const half = stage.data.levels[i], far = half * Math.sqrt(high / low);
        const points = Array.from({ length: 145 }, (_, k) => {
          const [u, v] = [half * Math.cos(k * Math.PI / 72), far * Math.sin(k * Math.PI / 72)];
          return [w1(cos * u - sin * v), w2(sin * u + cos * v)];
        });
        place(level, { d: through(points) });
      });
      const points = values.path.map(at);
      place(path, { d: through(points) });
      const [from, end] = values.path.slice(-2);
      leaves.toggleAttribute("hidden", seen(end));
      if (!seen(end)) {
        const step = end.map((v, i) => v - from[i]);
        const share = Math.min(...step.map((v, i) => (v ? (1.25 * Math.sign(v) - from[i]) / v : Infinity)));
        place(leaves, { d: arrow(at(from), at(from.map((v, i) => v + share * step[i])), 11) });
      }
      dots.forEach((dot, i) => {
        const next = values.path[i + 1];
        dot.toggleAttribute("hidden", !next || !seen(next));
        if (next) place(dot, { cx: points[i + 1][0], cy: points[i + 1][1] });
      });
      place(start, { transform: `translate(${points[0].join(" ")})` });

      const x = rate(state.eta);
      place(now, { d: `M${x} ${factor(0)}V36` });
      place(speed, { transform: `translate(${x} ${factor(0)})` });
      for (const { name, line, dot } of lines) {
        const eigenvalue = name === "along" ? low : high, last = Math.min(0.25, 2.6 / eigenvalue);
        const rates = last > 1 / eigenvalue ? [0, 1 / eigenvalue, last] : [0, last];
        place(line, { d: through(rates.map((r) => [rate(r), factor(Math.abs(1 - r * eigenvalue))])) });
        place(dot, { cx: x, cy: factor(Math.min(Math.abs(values[name]), 1.6)) });
      }
      for (const { name, y, tick, said } of ticks) {
        const to = rate(values[name]);
        place(tick, { d: `M${to} ${y}v${name === "best" ? -20 : -12}` });
        place(said, { x: to - 6 });
      }
    };
  },
});
