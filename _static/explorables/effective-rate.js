// Length of the weights and angle of a step, by the recursion of the chapter, with G = 1.

"use strict";

explorable("effective-rate", {
  // Length before each step, and the angle by which the step turns the weights.
  course(start, { rate, decay }, steps) {
    const lengths = [], angles = [];
    for (let i = 0, length = start; i <= steps; i++) {
      const kept = (1 - rate * decay) * length, across = rate / length;
      lengths.push(length);
      angles.push(Math.atan2(across, kept));
      length = Math.sqrt(kept * kept + across * across);
    }
    return { lengths, angles };
  },

  arrival(lengths, balance, { near, steps }) {
    const after = lengths.findLastIndex((length) => Math.abs(length - balance) > near * balance) + 1;
    return after <= steps ? after : null;
  },

  values(state, data) {
    const { rate, decay, step } = state;
    const both = [state.first, state.second].map((start) => this.course(start, state, data.steps));
    const balance = decay ? Math.sqrt(Math.sqrt(rate / (2 * decay))) : null;
    return {
      balance, turn: decay ? Math.sqrt(2 * rate * decay) : null,
      lengths: both.map(({ lengths }) => lengths[step]),
      lengths_after_one: both.map(({ lengths }) => lengths[1]),
      angles: both.map(({ angles }) => angles[step]),
      last: both.map(({ lengths, angles }) => [lengths[data.steps], angles[data.steps]]),
      near: both.map(({ lengths }) => (decay ? this.arrival(lengths, balance, data) : null)),
    };
  },

  sentence(state, { balance, turn, angles, last, near, lengths_after_one: one }, { steps }) {
    const { fixed } = explorable;
    const first = fixed(state.first), second = fixed(state.second, 1);
    const read = `Step ${state.step} turns the weights by ${fixed(angles[0], 4)} and ${fixed(angles[1], 4)}.`;
    if (balance === null) {
      return `Theory, with G = 1: without decay there is no balance. In ${steps} steps `
        + `the length ${first} becomes ${fixed(last[0][0])}, and ${second} becomes ${fixed(last[1][0])}. ${read}`;
    }
    const [a, b] = near.map((step) => (step === null ? `not in ${steps} steps` : `after ${step} steps`));
    return `Theory, with G = 1: balance at the length ${fixed(balance)}, with steps that turn by `
      + `√(2ηλ) = ${fixed(turn, 4)}. The start ${first} is at ${fixed(one[0])} after one step, `
      + `and within 5 % of balance ${a}; the start ${second} ${b}. ${read}`;
  },

  draw(stage) {
    const { clamp, fixed, place, scale } = explorable;
    const { data } = stage, { pixels: [left, right], steps } = data;
    const root = scale([0, Math.sqrt(steps)], [left, right]);
    const to = (step) => root(Math.sqrt(step));
    const panels = Object.entries(data.panels).map(([key, [name, ends, [low, high], ticks]]) => {
      const log = scale(ends.map(Math.log10), [low, high]);
      const up = (value) => clamp(log(Math.log10(value)), high, low);
      stage.add("text", { class: "name", x: 8, y: high - 22 }, `${name}, by theory`);
      for (const tick of ticks) {
        stage.add("path", { class: "axis", d: `M${left - 5} ${up(tick)}H${left}` });
        stage.add("text", { class: "reading", x: left - 9, y: up(tick) }, String(tick));
      }
      stage.add("path", { class: "axis", d: `M${left} ${high}V${low}H${right}` });
      const balance = stage.add("g");
      const line = stage.add("path", { class: "axis", "data-mark": `balance_${key}` }, null, balance);
      const text = stage.add("text", { class: "reading", x: right }, key === "length" ? "balance" : "√(2ηλ)", balance);
      return { key, up, low, high, balance, line, text };
    });
    for (const step of data.ticks) {
      stage.add("text", { x: to(step), y: 437 }, String(step));
      for (const { low } of panels) stage.add("path", { class: "axis", d: `M${to(step)} ${low}v5` });
    }
    const cursor = stage.add("path", { class: "guide" });
    const units = [["first", "value", 160], ["second", "gradient", 0]].map(([which, color, back]) => ({
      which,
      from: stage.add("text", { class: `reading bold said ${color}`, x: right - back, y: panels[0].high - 22 }, ""),
      curves: panels.map(({ key }) => stage.add("path", {
        class: `line ${color}${back ? "" : " dashed"}`, "data-mark": `${which}_${key}`,
      })),
      reads: panels.map(({ key }) => stage.add("circle", { class: `point ${color}`, r: 4.5, "data-mark": `read_${which}_${key}` })),
      near: stage.add("path", { class: `bar ${color}`, "data-mark": `near_${which}` }),
      said: stage.add("text", { class: `halo said ${color}` }),
    }));
    const handle = stage.handle(["step"], "step that is read", ([x]) => ({ step: clamp(root.invert(x), 0, Infinity) ** 2 }));
    handle.dataset.mark = "step";
    stage.add("circle", { class: "dot plain", r: 11 }, null, handle);

    return (state, values) => {
      const x = to(state.step);
      place(handle, { transform: `translate(${x} ${data.handle})` });
      place(cursor, { d: `M${x} ${data.handle}V${panels[0].high}` });
      [values.balance, values.turn].forEach((value, i) => {
        const { balance, line, text, up } = panels[i];
        balance.toggleAttribute("hidden", value === null);
        if (value === null) return;
        place(line, { d: `M${left} ${up(value)}H${right}` });
        place(text, { y: up(value) - 12 * Math.max(1, stage.k * 0.7) });
      });
      units.forEach(({ which, from, curves, reads, near, said }, unit) => {
        from.textContent = `from ${fixed(state[which], unit ? 1 : 2)}`;
        const { lengths, angles } = this.course(state[which], state, steps);
        [lengths, angles].forEach((curve, i) => {
          const points = [];
          for (let step = 0; step <= steps; step += step < 50 ? 1 : 25) points.push(`${to(step)} ${panels[i].up(curve[step])}`);
          place(curves[i], { d: `M${points.join("L")}` });
          place(reads[i], { cx: x, cy: panels[i].up(curve[state.step]) });
        });
        const after = values.near[unit], other = values.near[1 - unit], foot = panels[0].low;
        for (const part of [near, said]) part.toggleAttribute("hidden", after === null);
        if (after === null) return;
        const there = to(after), crowded = unit === 1 && other !== null && Math.abs(there - to(other)) < data.crowded;
        place(near, { d: `M${there} ${foot - 14}V${foot}` });
        place(said, { x: Math.min(there, right - 24), y: foot - (crowded ? 44 : 24) });
        said.textContent = String(after);
      });
    };
  },
});
