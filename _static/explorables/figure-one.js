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

  values({ setting, step }, { correct, steps }) {
    const at = steps.indexOf(step), arms = correct[setting];
    const here = (arm) => arms[arm].map((seed) => seed[at]);
    const percent = (list) => this.summary(list.map((v) => v / 100));
    const without = here("without"), seeds = here("with").map((v, i) => (v - without[i]) / 100);
    const goal = this.summary(without)[1];
    const there = this.course(arms.with, this.summary).findIndex(([, median]) => median >= goal);
    return {
      without: percent(without), with: percent(here("with")),
      lead: this.summary(seeds), seeds, there: there < 0 ? null : steps[there],
    };
  },

  sentence({ setting, step }, values) {
    const said = (v) => explorable.fixed(v, 1);
    const [without, batch] = [said(values.without[1]), said(values.with[1])];
    const [low, middle, high] = values.lead.map(said);
    const when = values.there === null ? "is not reached" : `is reached after ${values.there} steps`;
    return `Setting ${setting}, after ${step} steps: the median seed reads ${without} % without batch normalization, ${batch} % with it. `
      + `Seed by seed it leads by ${middle} points, from ${low} to ${high}. With it, ${without} % ${when}.`;
  },

  draw(stage) {
    const { clamp, fixed, place, scale } = explorable;
    const { steps, correct, scales, shown } = stage.data;
    const [top, bottom, row, left, right] = [44, 244, 334, 52, 674];
    const last = steps.at(-1);
    const across = (step) => left + Math.sqrt(step / last) * (right - left);
    const path = (points) => `M${points.map((p) => p.join(" ")).join("L")}`;
    const colors = { without: "gradient", with: "value" };

    stage.add("text", { class: "name", x: left, y: 20 }, "test accuracy");
    const said = {}, bands = {}, lines = {};
    for (const [arm, x] of [["without", 540], ["with", right]]) {
      said[arm] = stage.add("text", { class: `reading bold said ${colors[arm]}`, x, y: 20 });
      bands[arm] = stage.add("path", { class: `area ${colors[arm]}` });
    }
    for (const arm in colors) {
      const dash = arm === "without" ? " dashed" : "";
      lines[arm] = stage.add("path", { class: `line ${colors[arm]}${dash}`, "data-mark": `end_${arm}` });
    }
    stage.add("path", { class: "axis", d: `M${left} ${bottom}H${right}` });
    for (const step of shown) stage.add("text", { class: "tick", x: across(step), y: bottom + 16 }, step);
    const sets = Object.entries(scales).map(([name, { accuracy, ticks, lead, leads }]) => {
      const made = stage.add("g"), add = (...all) => stage.add(...all, made);
      const y = scale(accuracy, [bottom, top]), x = scale(lead, [left, right]);
      for (const tick of ticks) add("text", { class: "reading", x: left - 8, y: y(tick) }, tick);
      for (const tick of leads) {
        add("path", { class: "axis", d: `M${x(tick)} ${row}v6` }, null);
        add("text", { class: "tick", x: x(tick), y: row + 28 }, String(tick).replace("-", "−"));
      }
      return [name, { made, y, x }];
    });
    const guide = stage.add("path", { class: "guide" });
    const back = stage.add("path", { class: "guide" });
    const there = stage.add("circle", { class: "speck solid", r: 3.6, "data-mark": "there" });
    const batch = stage.add("circle", { class: "dot small value", "data-mark": "with" });
    const handle = stage.handle(["step"], "step", ([x]) => ({ step: last * clamp((x - left) / (right - left), 0, 1) ** 2 }));
    handle.classList.add("gradient");
    handle.dataset.mark = "without";
    stage.add("circle", { class: "dot small" }, null, handle);

    stage.add("text", { class: "name", x: left, y: row - 28 }, "lead of each seed");
    const lead = stage.add("text", { class: "reading", x: right, y: row - 28 });
    stage.add("path", { class: "axis", d: `M${left} ${row}H${right}` });
    const median = stage.add("path", { class: "mean", "data-mark": "lead" });
    const dots = correct.C.with.map((_, i) => stage.add("circle", { class: "speck range", cy: row, r: 4.2, "data-mark": `seed_${i}` }));

    return (state, values) => {
      for (const [name, { made }] of sets) made.toggleAttribute("hidden", name !== state.scale);
      const to = Object.fromEntries(sets)[state.scale], x = across(state.step);
      const up = (percent) => Math.min(to.y(percent), bottom), along = (points) => clamp(to.x(points), left, right);
      for (const arm in colors) {
        said[arm].textContent = `${arm} ${fixed(values[arm][1], 1)} %`;
        const course = this.course(correct[state.setting][arm], this.summary);
        const [low, middle, high] = [0, 1, 2].map((part) => course.map((of, i) => [across(steps[i]), up(of[part] / 100)]));
        place(bands[arm], { d: `${path([...low, ...high.reverse()])}Z` });
        place(lines[arm], { d: path(middle) });
      }
      const level = up(values.without[1]);
      place(guide, { d: `M${x} ${top}V${bottom}` });
      for (const part of [back, there]) part.toggleAttribute("hidden", values.there === null);
      if (values.there !== null) {
        place(back, { d: `M${x} ${level}H${across(values.there)}` });
        place(there, { cx: across(values.there), cy: level });
      }
      place(batch, { cx: x, cy: up(values.with[1]) });
      place(handle, { transform: `translate(${x} ${level})` });
      const [low, middle, high] = values.lead.map((v) => fixed(v, 1));
      lead.textContent = `median ${middle} points, ${low} to ${high}`;
      place(median, { d: `M${along(values.lead[1])} ${row - 15}V${row + 15}` });
      dots.forEach((dot, i) => place(dot, { cx: along(values.seeds[i]) }));
    };
  },
});
