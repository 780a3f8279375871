// Which elements of a tensor share a mean, and whether the layer follows a shift.

"use strict";

explorable("shared-means", {
  // All places (n, c, h, w), in the order of the tensor.
  places([N, C, H, W]) {
    return Array.from({ length: N * C * H * W }, (_, i) => [
      Math.floor(i / (C * H * W)), Math.floor(i / (H * W)) % C, Math.floor(i / W) % H, i % W,
    ]);
  },

  // Elements with the same key share their statistics.
  key: (norm, [n, c, h, w], { shape, groups }) => ({
    batch: `c${c}`, activation: `c${c}h${h}w${w}`, instance: `n${n}c${c}`,
    layer: `n${n}`, rms: `n${n}`, group: `n${n}g${Math.floor(c / (shape[1] / groups))}`,
  })[norm],

  forward(x, { norm, affine }, data) {
    const places = this.places(data.shape), keys = places.map((place) => this.key(norm, place, data));
    const groups = {};
    keys.forEach((key, i) => { (groups[key] ??= []).push(x[i]); });
    const average = (list) => list.reduce((sum, v) => sum + v, 0) / list.length;
    const each = ["activation", "layer", "rms"].includes(norm);
    const moments = {};
    for (const [key, list] of Object.entries(groups)) {
      const mean = norm === "rms" ? 0 : average(list);
      moments[key] = [mean, Math.sqrt(average(list.map((v) => (v - mean) ** 2)) + data.eps)];
    }
    return x.map((v, i) => {
      const [mean, std] = moments[keys[i]], [, c, h, w] = places[i];
      const hat = (v - mean) / std;
      if (affine === "none") return hat;
      const entry = (values) => values[c][each ? h : 0][each ? w : 0] / 100;
      return entry(data.gamma) * hat + (norm === "rms" ? 0 : entry(data.beta));
    });
  },

  // The example of the element, shifted before the layer and after it.
  results(state, data) {
    const { shape } = data, [, , , W] = shape, n = state.n - 1, size = shape[1] * shape[2] * W;
    const example = (values) => values.slice(n * size, (n + 1) * size);
    const roll = (values) => values.map((_, i) => values[i - i % W + (i % W - state.shift + W) % W]);
    const x = data.x.flat(3).map((v) => v / 100);
    const before = [...x.slice(0, n * size), ...roll(example(x)), ...x.slice((n + 1) * size)];
    return [example(this.forward(before, state, data)), roll(example(this.forward(x, state, data)))];
  },

  values(state, data) {
    const places = this.places(data.shape);
    const own = this.key(state.norm, [state.n - 1, state.c - 1, state.h - 1, state.w - 1], data);
    const members = places.map((_, i) => i).filter((i) => this.key(state.norm, places[i], data) === own);
    const [shifted, last] = this.results(state, data);
    return { members, shifted, gap: Math.max(...shifted.map((v, i) => Math.abs(v - last[i]))) };
  },

  what: ({ norm }) => norm === "rms" ? "mean square" : "mean",

  sentence(state, { members, gap }, { shared, stays }) {
    const verdict = state.shift === 0 ? "agree: nothing has moved" : gap < 1e-9 ? "agree: the layer follows the shift"
      : `differ by up to ${explorable.fixed(gap)}: ${stays[state.norm]}`;
    return `${members.length} elements share one ${this.what(state)}: ${shared[state.norm]}. `
      + `Example ${state.n} is shifted by ${state.shift} px, before the layer and after it. The results ${verdict}.`;
  },

  draw(stage) {
    const { clamp, place } = explorable;
    const { data } = stage, { shape: [N, C, H, W], sheets, tops, pitch, tile } = data;
    const places = this.places(data.shape);
    const center = (sheet, row, c, h, w) => [
      sheets[sheet] + c * tile + w * pitch + pitch / 2, tops[row] + h * pitch + pitch / 2,
    ];
    const inTensor = ([n, c, h, w]) => center("tensor", N - 1 - n, c, h, w);
    const square = ([x, y], attributes) => stage.add("rect", { x: x - 10, y: y - 10, width: 20, height: 20, ...attributes });
    const pale = (at) => square(at, { class: "square", "fill-opacity": 0.13 });

    const count = stage.add("text", { class: "name", x: sheets.tensor, y: 14 });
    const title = stage.add("text", { class: "name", x: sheets.layer, y: 14 });
    tops.forEach((top, row) => {
      stage.add("text", { class: "start", x: sheets.tensor, y: top - 12 }, `example ${N - row}`);
      stage.add("text", { class: "start", x: sheets.layer, y: top - 12 }, data.results[row]);
    });
    const cells = places.map((of, i) => {
      pale(inTensor(of));
      return square(inTensor(of), { class: "square value", "data-mark": `cell_${i}` });
    });
    const shown = tops.map((_, row) => places.slice(0, C * H * W).map(([, c, h, w]) => {
      const at = center("layer", row, c, h, w);
      pale(at);
      return square(at, { class: "square" });
    }));
    const nearest = (pixel, count, from, step) => clamp(Math.floor((pixel - from) / step), 0, count - 1);
    const handle = stage.handle(["c", "n"], "the element", ([x, y]) => {
      const c = nearest(x + (tile - W * pitch) / 2, C, sheets.tensor, tile);
      const row = nearest(y + (tops[1] - tops[0] - H * pitch) / 2, N, tops[0], tops[1] - tops[0]);
      return {
        n: N - row, c: c + 1,
        h: nearest(y, H, tops[row], pitch) + 1, w: nearest(x, W, sheets.tensor + c * tile, pitch) + 1,
      };
    });
    handle.classList.add("gradient");
    handle.dataset.mark = "chosen";
    stage.add("circle", { class: "dot small" }, null, handle);

    return (state, values) => {
      count.textContent = `${values.members.length} elements share one ${this.what(state)}`;
      title.textContent = `example ${state.n} leaves`;
      cells.forEach((cell, i) => cell.toggleAttribute("hidden", !values.members.includes(i)));
      const [x, y] = inTensor([state.n - 1, state.c - 1, state.h - 1, state.w - 1]);
      place(handle, { transform: `translate(${x} ${y})` });
      const [first, last] = this.results(state, data);
      [first, last, first.map((v, i) => v - last[i])].forEach((row, r) => row.forEach((v, i) => {
        place(shown[r][i], { class: `square ${v > 0 ? "value" : "gradient"}`, "fill-opacity": Math.min(Math.abs(v) / data.full, 1) });
      }));
    };
  },
});
