// A batch on a line, and where each of its examples leaves.

"use strict";

explorable("companions", {
  values(state, { running }) {
    const x = Array.from({ length: state.m }, (_, i) => state[`x${i + 1}`]);
    const eps = Number(`1e${state.eps}`);
    const inference = state.mode === "inference";
    if (!inference && x.length === 1) return { mean: null, std: null, y: null, mean_out: null, std_out: null };
    const [mean, variance] = inference ? running : this.moments(x);
    const y = x.map((v) => state.gamma * (v - mean) / Math.sqrt(variance + eps) + state.beta);
    const [out, spread] = this.moments(y);
    return { mean, std: Math.sqrt(variance), y, mean_out: out, std_out: Math.sqrt(spread) };
  },

  // Mean and variance. Counted from one of the values, near ones lose no digits.
  moments(x) {
    const from = x[0];
    const average = (list) => list.reduce((sum, v) => sum + v, 0) / list.length;
    const shift = average(x.map((v) => v - from));
    return [from + shift, average(x.map((v) => (v - from - shift) ** 2))];
  },

  titles(state, { y, mean, std, mean_out: out, std_out: spread }) {
    const { fixed } = explorable;
    if (!y) return ["", "nothing: refused"];
    const used = state.mode === "inference" ? "running mean" : "mean";
    return [`${used} ${fixed(mean)}, std ${fixed(std)}`, `mean ${fixed(out)}, std ${fixed(spread)}`];
  },

  sentence(state, values, { refusal }) {
    const { fixed } = explorable;
    if (!values.y) return `Refused: ${refusal}. The one value is its own mean, and would leave as β, whatever it is.`;
    const said = (mean, std) => `mean ${fixed(mean)}, standard deviation ${fixed(std)}`;
    const used = said(values.mean, values.std);
    const whose = {
      training: `In training the batch has ${used}`,
      inference: `In inference the statistics are training’s: ${used}`,
    }[state.mode];
    return `${whose}. What leaves has ${said(values.mean_out, values.std_out)}. `
      + `Example 1 enters at ${fixed(state.x1, 1)} and leaves at ${fixed(values.y[0])}.`;
  },

  shown(control, state) {
    const example = /^x(\d)$/.exec(control);
    return !example || Number(example[1]) <= state.m;
  },

  draw(stage) {
    const { beyond, place, scale } = explorable;
    const { span, pixels: [left, right], above, below, box } = stage.data;
    const to = scale(span, [left, right]);
    const inside = stage.frame([box[0], 0, box[2], stage.data.height]);

    const lines = [[above, -1, "x comes in"], [below, 1, "y leaves"]].map(([y, side, name]) => {
      const band = stage.add("path", { class: "band", "stroke-width": 25 }, null, inside);
      stage.add("path", { class: "axis", d: `M${left} ${y}H${right}` });
      for (let tick = -5; tick <= 5; tick++) {
        stage.add("path", { class: "axis", d: `M${to(tick)} ${y}v${side * 6}` });
        stage.add("text", { class: "tick", x: to(tick), y: y + side * 32 }, String(tick).replace("-", "−"));
      }
      stage.add("text", { class: "name", x: left, y: y + side * 64 }, name);
      const moments = stage.add("text", { class: "reading", x: right, y: y + side * 64 });
      return { y, band, moments, mean: stage.add("path", { class: "mean" }, null, inside) };
    });

    const example = (i, y, made) => {
      made.dataset.mark = `${y === above ? "x" : "y"}${i}`;
      stage.add("circle", { class: "dot", r: 11 }, null, made);
      stage.add("text", { class: "in-dot" }, i, made);
      return made;
    };
    const links = [], outs = [], offs = [], ins = [], six = [1, 2, 3, 4, 5, 6];
    for (const i of six) {
      const color = i === 1 ? "gradient" : "value";
      links[i] = stage.add("path", { class: `line ${color}` }, null, inside);
      offs[i] = stage.add("path", { class: `beyond ${color}`, "data-mark": `off${i}` });
    }
    for (const i of six) {
      const color = i === 1 ? "gradient" : "value";
      outs[i] = example(i, below, stage.add("g", { class: color }));
      const group = stage.add("g", { class: color });
      const move = ([x]) => ({ [`x${i}`]: to.invert(x) });
      ins[i] = example(i, above, stage.handle([`x${i}`], `example ${i}, as it comes in`, move, group));
    }

    return (state, values) => {
      const refused = !values.y;
      this.titles(state, values).forEach((text, line) => { lines[line].moments.textContent = text; });
      const pairs = [[values.mean, values.std], [values.mean_out, values.std_out]];
      lines.forEach(({ y, band, mean }, line) => {
        const [center, spread] = pairs[line];
        for (const part of [band, mean]) part.toggleAttribute("hidden", refused);
        if (refused) return;
        const end = to(center + spread), middle = to(center);
        place(band, { d: `M${2 * middle - end} ${y}H${end}`, "data-mark": line ? "band_out" : "band" });
        place(mean, { d: `M${middle} ${y - 17}V${y + 17}`, "data-mark": line ? "mean_out" : "mean" });
        band.classList.toggle("running", !line && state.mode === "inference");
      });
      for (let i = 1; i <= 6; i++) {
        const here = i <= state.m;
        ins[i].toggleAttribute("hidden", !here);
        for (const part of [outs[i], offs[i], links[i]]) part.toggleAttribute("hidden", !here || refused);
        const x = to(state[`x${i}`]);
        place(ins[i], { transform: `translate(${x} ${above})` });
        if (!here || refused) continue;
        const y = to(values.y[i - 1]);
        outs[i].toggleAttribute("hidden", beyond(offs[i], [y, below], box));
        place(outs[i], { transform: `translate(${y} ${below})` });
        place(links[i], { d: `M${x} ${above}L${y} ${below}` });
      }
    };
  },
});
