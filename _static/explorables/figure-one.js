// Figure 1 of the paper, run again: both arms over the steps, and the lead of each seed.

"use strict";

explorable("figure-one", {
  // Least, median and largest.
  summary(list) {
    const sorted = [...list].sort((a, b) => a - b), half = sorted.length / 2;
    return [sorted[0], (sorted[Math.floor(half - 0.5)] + sorted[Math.floor(half)]) / 2, sorted.at(-1)];
  },

  // The summary of right answers at each recorded step.
  course: (counts, summary) => counts[0].map((_, i) => summary(counts.map((seed) => seed[i]))),

  values({ setting, record }, { correct, steps }) {
    const arms = correct[setting], here = (arm) => arms[arm].map((seed) => seed[record]);
    const percent = (list) => this.summary(list.map((v) => v / 100));
    const without = here("without"), seeds = here("with").map((v, i) => (v - without[i]) / 100);
    const goal = this.summary(without)[1];
    const there = this.course(arms.with, this.summary).findIndex(([, median]) => median >= goal);
    return {
      without: percent(without), with: percent(here("with")),
      lead: this.summary(seeds), seeds, there: there < 0 ? null : steps[there],
    };
  },

  sentence({ setting, record }, { there, ...values }, { steps }) {
    const said = (v) => explorable.fixed(v, 1);
    const [without, batch] = [said(values.without[1]), said(values.with[1])];
    const [low, middle, high] = values.lead.map(said);
    const when = (there === null ? `never has ${without} %` : `has ${without} % by step ${there}`)
      + (there === steps[1] ? ", the first record after the start" : "");
    return `Setting ${setting}, after ${steps[record]} steps: the median seed reads ${without} % of the images right without `
      + `batch normalization, ${batch} % with it. The leads of batch normalization, seed by seed, have the median ${middle} points, `
      + `from ${low} to ${high}. With batch normalization the median seed ${when}.`;
  },

  draw(stage) {
    const { beyond, clamp, fixed, place, scale } = explorable;
    const { steps, correct, scales, shown, frame, line } = stage.data;
    const [left, top, right, bottom] = frame, row = 334;
    const last = steps.at(-1);
    const across = (step) => left + Math.sqrt(step / last) * (right - left);
    const path = (points) => `M${points.map((p) => p.join(" ")).join("L")}`;
    const colors = { without: "gradient", with: "value" };

    stage.add("text", { class: "name", x: left, y: 20 }, "test accuracy");
    const said = {}, bands = {}, lines = {}, beads = {}, inside = stage.frame(frame);
    for (const [arm, x] of [["without", 505], ["with", right]]) {
      said[arm] = stage.add("text", { class: `reading bold said ${colors[arm]}`, x, y: 20 });
      bands[arm] = stage.add("path", { class: `area ${colors[arm]}` }, null, inside);
    }
    for (const arm in colors) {
      const dash = arm === "without" ? " dashed" : "";
      lines[arm] = stage.add("path", { class: `line ${colors[arm]}${dash}`, "data-mark": `end_${arm}` }, null, inside);
      beads[arm] = steps.map((step) => stage.add("circle", { class: `speck ${colors[arm]}`, r: 1.8, cx: across(step) }, null, inside));
    }
    stage.add("path", { class: "axis", d: `M${left} ${bottom}H${right}` });
    for (const step of shown) stage.add("text", { class: "tick", x: across(step), y: bottom + 16 }, step);
    const sets = Object.entries(scales).map(([name, { accuracy, ticks, lead, leads }]) => {
      const made = stage.add("g"), add = (...all) => stage.add(...all, made);
      const y = scale(accuracy, [bottom, top]), x = scale(lead, [left, right]);
      for (const tick of ticks) add("text", { class: "reading", x: left - 8, y: y(tick) }, tick);
      for (const tick of leads) {
        add("path", { class: "axis", d: `M${x(tick)} ${row + 18}v6` }, null);
        add("text", { class: "tick", x: x(tick), y: row + 40 }, String(tick).replace("-", "−"));
      }
      return [name, { made, y, x }];
    });
    const guide = stage.add("path", { class: "guide" });
    const back = stage.add("path", { class: "guide" });
    const heads = Object.fromEntries([["without", "gradient"], ["with", "value"], ["there", ""]].map(([name, color]) => (
      [name, stage.add("path", { class: `beyond ${color}`, "data-mark": `${name}_beyond` })]
    )));
    const there = stage.add("circle", { class: "speck solid", r: 3.6, "data-mark": "there" });
    const batch = stage.add("circle", { class: "dot small value", "data-mark": "with" });
    const near = (x) => steps.reduce((best, step, i) => (
      Math.abs(across(step) - x) < Math.abs(across(steps[best]) - x) ? i : best), 0);
    const handle = stage.handle(["record"], "step", ([x]) => ({ record: near(x) }));
    handle.classList.add("gradient");
    handle.dataset.mark = "without";
    stage.add("circle", { class: "dot small" }, null, handle);

    stage.add("text", { class: "name", x: left, y: row - 34 }, "lead of each seed");
    const lead = stage.add("text", { class: "reading", x: right, y: row - 34 });
    stage.add("path", { class: "axis", d: `M${left} ${row + 18}H${right}` });
    const median = stage.add("path", { class: "mean", "data-mark": "lead" });
    const off = stage.add("path", { class: "beyond", "data-mark": "lead_beyond" });
    const dots = correct.C.with.map((_, i) => {
      const cy = row - 13 + 2.6 * i;
      const head = stage.add("path", { class: "beyond range", "data-mark": `seed_${i}_beyond` });
      return { cy, head, dot: stage.add("circle", { class: "speck range", cy, r: 3.5, "data-mark": `seed_${i}` }) };
    });

    return (state, values) => {
      for (const [name, { made }] of sets) made.toggleAttribute("hidden", name !== state.scale);
      const to = Object.fromEntries(sets)[state.scale], x = across(steps[state.record]), up = to.y;
      for (const arm in colors) {
        said[arm].textContent = `${arm} ${fixed(values[arm][1], 1)} %`;
        const course = this.course(correct[state.setting][arm], this.summary);
        const [low, middle, high] = [0, 1, 2].map((part) => course.map((of, i) => [across(steps[i]), up(of[part] / 100)]));
        place(bands[arm], { d: `${path([...low, ...high.reverse()])}Z` });
        place(lines[arm], { d: path(middle) });
        middle.forEach(([, cy], i) => place(beads[arm][i], { cy }));
      }
      const level = up(values.without[1]), reach = clamp(level, top, bottom);
      place(guide, { d: `M${x} ${top}V${bottom}` });
      for (const part of [back, there, heads.there]) part.toggleAttribute("hidden", values.there === null);
      if (values.there !== null) {
        const [cx, cy] = [across(values.there), up(this.summary(correct[state.setting].with.map((seed) => seed[steps.indexOf(values.there)]))[1] / 100)];
        place(back, { d: `M${x} ${reach}H${cx}V${clamp(cy, top, bottom)}` });
        place(there, { cx, cy });
        there.toggleAttribute("hidden", beyond(heads.there, [cx, cy], frame));
      }
      place(batch, { cx: x, cy: up(values.with[1]) });
      batch.toggleAttribute("hidden", beyond(heads.with, [x, up(values.with[1])], frame));
      place(handle, { transform: `translate(${x} ${reach})` });
      handle.toggleAttribute("data-off", beyond(heads.without, [x, level], frame));
      const [low, middle, high] = values.lead.map((v) => fixed(v, 1));
      lead.textContent = `median ${middle} points, ${low} to ${high}`;
      const at = to.x(values.lead[1]);
      place(median, { d: `M${at} ${row - 18}V${row + 16}` });
      median.toggleAttribute("hidden", beyond(off, [at, row + 16], line));
      dots.forEach(({ cy, head, dot }, i) => {
        const cx = to.x(values.seeds[i]);
        place(dot, { cx });
        dot.toggleAttribute("hidden", beyond(head, [cx, cy], line, 8));
      });
    };
  },
});
