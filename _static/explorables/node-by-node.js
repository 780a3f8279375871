// The graph of a batch of four, walked forward and back, node by node.

"use strict";

explorable("node-by-node", {
  sum: (list) => list.reduce((total, v) => total + v, 0),

  values(state, { given: { dy, gamma: [gamma], beta: [beta], eps }, faults, back }) {
    const x = [state.x1, state.x2, state.x3, state.x4];
    const mu = this.sum(x) / x.length;
    const c = x.map((v) => v - mu), s = c.map((v) => v ** 2);
    const variance = this.sum(s) / x.length, std = Math.sqrt(variance + eps), v = 1 / std;
    const hat = c.map((u) => u * v), z = hat.map((u) => gamma * u), y = z.map((u) => u + beta);
    const g = { gamma, c, std, v, hat };
    const gradients = this.walk(dy, g, ...(faults[state.pass] ?? []));
    const right = this.walk(dy, g);
    const off = Object.values(back).flat().find((name) => !this.agree(gradients[name], right[name]));
    return {
      values: { mu: [mu], c, s, var: [variance], std: [std], v: [v], x_hat: hat, z, y },
      gradients, right, first: off ?? null,
    };
  },

  // Gradients on the way back; one may have a wrong factor.
  walk(dy, { gamma, c, std, v, hat }, spoiled, factor) {
    const found = {}, m = dy.length;
    const node = (name, gradient) => {
      found[name] = gradient.map((u) => (name === spoiled ? factor : 1) * u);
      return found[name];
    };
    const times = (a, b) => a.map((u, i) => u * b[i]);
    const dz = node("z", dy);
    node("beta", [this.sum(dy)]);
    node("gamma", [this.sum(times(dz, hat))]);
    const dhat = node("x_hat", dz.map((u) => gamma * u));
    const [dv] = node("v", [this.sum(times(dhat, c))]);
    const direct = node("c_1", dhat.map((u) => v * u));
    const [dstd] = node("std", [-dv / std ** 2]);
    const [dvar] = node("var", [dstd / (2 * std)]);
    const ds = node("s", dy.map(() => dvar / m));
    const square = node("c_2", times(ds, c.map((u) => 2 * u)));
    const dc = node("c", direct.map((u, i) => u + square[i]));
    node("x_1", dc);
    const [dmu] = node("mu", [-this.sum(dc)]);
    const mean = node("x_2", dy.map(() => dmu / m));
    node("x", found.x_1.map((u, i) => u + mean[i]));
    return found;
  },

  agree: (a, b) => a.every((v, i) => Math.abs(v - b[i]) <= 1e-9),
  brief: (list) => list.map((v) => explorable.fixed(v).replace(/\.?0+$/, "")).join(", "),

  sentence(state, { values, gradients, right, first }, { order, titles, equations, back, said }) {
    const { step } = state, node = order[step - 1];
    if (!step) return `The batch is ${this.brief([state.x1, state.x2, state.x3, state.x4])}. Nothing is computed yet.`;
    if (step <= 9) return `${titles[step]}, which gives ${this.brief(values[node])}.`;
    const parts = back[node].map((name) => {
      const text = `${said[name]} = ${this.brief(gradients[name])}`;
      if (state.pass === "right") return text;
      if (this.agree(gradients[name], right[name])) return `${text}, which is right`;
      return `${text}, where ${this.brief(right[name])} is right`;
    });
    const text = `Back ${step - 9} of 9, through ${equations[node]}: ${parts.join("; ")}.`;
    if (step < order.length) return text;
    const hidden = state.pass !== "right" && !first;
    return `${text} The entries of dx sum to ${this.brief([this.sum(gradients.x)])}.`
      + (hidden ? ` At these inputs nothing shows what ${state.pass} did wrong.` : "");
  },

  draw(stage) {
    const { arrow, beyond, place, scale } = explorable;
    const { data } = stage, { nodes, order, given } = data;
    const [line, low, high, left, right] = data.line;
    const to = scale([low, high], [left, right]);

    stage.add("path", { class: "axis", d: `M${left} ${line}H${right}` });
    for (let tick = low; tick <= high; tick += 2) {
      stage.add("path", { class: "axis", d: `M${to(tick)} ${line}v-6` });
      stage.add("text", { x: to(tick), y: 13 }, String(tick).replace("-", "−"));
    }
    stage.add("text", { class: "bold", x: 26, y: line }, "x");
    const push = stage.add("g"), inside = push.appendChild(stage.frame(data.box));
    stage.add("text", { class: "said gradient", x: 26, y: (data.lanes[1] + data.lanes[2]) / 2 }, "−dx", push);
    const pushes = data.lanes.map((_, i) => stage.add("path", { class: "line gradient", "data-mark": `push${i + 1}` }, null, inside));
    const offs = data.lanes.map(() => stage.add("path", { class: "beyond gradient" }, null, push));
    for (const [color, text, y] of data.legend) stage.add("text", { class: `start said ${color}`, x: 70, y }, text);

    const edges = data.edges.map(([head, way]) => ({ head, way, made: stage.add("path") }));
    const drawn = Object.entries(nodes).map(([name, [label, x, y]]) => {
      const circle = stage.add("circle", { cx: x, cy: y, r: 19 });
      const text = stage.add("text", { x, y }, label);
      const slots = data.slots[x < 200 ? 0 : 1];
      const rows = [["value", -13], ["gradient bold", 14]].map(([color, lift]) => slots.map((slot) => (
        stage.add("text", { class: `said number ${color}`, x: slot, y: y + lift }, ""))));
      return { name, circle, text, rows };
    });
    stage.add("rect", { class: "strip", x: 12, y: 519, width: 676, height: 96 });
    const theirs = stage.add("text", { class: "reading", x: 674, y: data.strip[2] }, "the right code");
    const strip = data.strip.map((y, i) => stage.add("text", { class: i ? "code" : "name", x: 26, y }, ""));
    const dots = [4, 3, 2, 1].map((i) => {
      const made = stage.handle([`x${i}`], `example ${i}`, ([x]) => ({ [`x${i}`]: to.invert(x) }), stage.add("g", { class: "value" }));
      made.dataset.mark = `x${i}`;
      stage.add("circle", { class: "dot", r: 11 }, null, made);
      stage.add("text", { class: "in-dot" }, i, made);
      return { i, made };
    });

    return (state, { values, gradients, right }, open) => {
      const { step } = state, lit = order[step - 1], color = step <= 9 ? "value" : "gradient";
      for (const { i, made } of dots) place(made, { transform: `translate(${to(state[`x${i}`])} ${line})` });
      push.toggleAttribute("hidden", step < order.length);
      pushes.forEach((made, i) => {
        const x = state[`x${i + 1}`], y = data.lanes[i];
        const end = [to(x - gradients.x[i]), y];
        place(made, { d: arrow([to(x), y], end, 7) });
        beyond(offs[i], end, data.box, 9);
      });
      for (const { head, way, made } of edges) {
        const on = head === lit, points = on && step > 9 ? [...way].reverse() : way;
        const [from, end] = points.slice(-2);
        const start = points.length > 2 ? `M${points.slice(0, -1).join("L")}` : "";
        place(made, { class: on ? `line ${color}` : "axis", d: start + arrow(from, end, 7) });
      }
      const inputs = [state.x1, state.x2, state.x3, state.x4];
      const before = { x: inputs, gamma: given.gamma, beta: given.beta, ...values };
      for (const { name, circle, text, rows } of drawn) {
        const on = name === lit;
        place(circle, { class: on ? `node ${color}` : "node" });
        place(text, { class: on ? "label on" : "label" });
        if (on) circle.dataset.mark = "lit";
        else delete circle.dataset.mark;
        const shown = [
          step >= data.forward[name] ? before[name] : [],
          step >= data.backward[name] ? gradients[name] ?? given.dy : [],
        ];
        const wrong = open && gradients[name] && !this.agree(gradients[name], right[name]);
        rows.forEach((row, kind) => row.forEach((made, i) => {
          if (kind) made.classList.toggle("wrong", Boolean(wrong));
          made.textContent = shown[kind][i] === undefined ? "" : this.brief([shown[kind][i]]);
        }));
      }
      theirs.toggleAttribute("hidden", state.pass === "right" || step <= 9);
      const said = [data.titles[step], ...data.code[step]];
      strip.forEach((made, i) => { made.textContent = said[i] ?? ""; });
    };
  },
});
