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
    const gamma = this.gamma({ norm, affine }, data), each = this.each(norm);
    const moments = {};
    for (const [key, list] of Object.entries(groups)) {
      const mean = norm === "rms" ? 0 : average(list);
      moments[key] = [mean, Math.sqrt(average(list.map((v) => (v - mean) ** 2)) + data.eps)];
    }
    return x.map((v, i) => {
      const [mean, std] = moments[keys[i]], [, c, h, w] = places[i];
      const hat = (v - mean) / std;
      if (affine === "none") return hat;
      const beta = norm === "rms" ? 0 : data.beta[c][each ? h : 0][each ? w : 0] / 100;
      return gamma[i % gamma.length] * hat + beta;
    });
  },

  // Whether γ and β have an entry for each element, or for each channel.
  each: (norm) => ["activation", "layer", "rms"].includes(norm),

  // What multiplies each element of an example.
  gamma({ norm, affine }, { gamma }) {
    const own = gamma.flatMap((rows) => rows.flatMap((row) => row.map((v) => (this.each(norm) ? v : rows[0][0]) / 100)));
    return affine === "none" ? own.map(() => 1) : own;
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
    const gap = Math.max(...shifted.map((v, i) => Math.abs(v - last[i])));
    return { members, shifted, gap, gamma: this.gamma(state, data) };
  },

  what: ({ norm }) => norm === "rms" ? "mean square" : "mean",

  sentence(state, { members, gap }, { shared, stays }) {
    const verdict = state.shift === 0 ? "agree: nothing has moved" : gap < 1e-9 ? "agree: the layer follows the shift"
      : `differ by up to ${explorable.fixed(gap)}: ${stays[state.norm]}`;
    return `${members.length} elements share one ${this.what(state)}: ${shared[state.norm]}. `
      + `Example ${state.n} is shifted by ${state.shift} px, before the layer and after it; `
      + `the other examples stay. The results ${verdict}.`;
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
    const small = (kind, x, y, words) => stage.add("text", { class: kind, x, y }, words);
    data.results.forEach((words, row) => {
      small("start", sheets.tensor, tops[row] - 12, `example ${N - row}`);
      small("start", sheets.layer, tops[row] - 12, words);
    });
    const gains = small("start", sheets.layer, tops[3] - 12);
    const color = (tile, share) => place(tile, {
      class: `square ${share > 0 ? "value" : "gradient"}`, "fill-opacity": Math.min(Math.abs(share), 1),
    });
    small("start", sheets.tensor, tops[3] - 12, "colors on the right");
    small("start", sheets.tensor, 372, "values");
    small("start", sheets.tensor, 396, "γ");
    data.swatches.forEach((said, i) => {
      const x = sheets.tensor + 100 + 44 * i, at = [x, tops[3] + pitch / 2];
      pale(at);
      color(square(at, {}), i / 2 - 1);
      said.forEach((words, row) => small("tick", x, 372 + 24 * row, words));
    });
    const cells = places.map((of, i) => {
      pale(inTensor(of));
      return square(inTensor(of), { class: "square", "data-mark": `cell_${i}` });
    });
    const tiles = tops.map((_, row) => places.slice(0, C * H * W).map(([, c, h, w]) => {
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
    handle.dataset.mark = "chosen";
    stage.add("circle", { class: "dot hole" }, null, handle);

    return (state, values) => {
      count.textContent = `${values.members.length} share one ${this.what(state)}`;
      title.textContent = `example ${state.n} leaves`;
      cells.forEach((cell, i) => cell.toggleAttribute("hidden", !values.members.includes(i)));
      const [x, y] = inTensor([state.n - 1, state.c - 1, state.h - 1, state.w - 1]);
      place(handle, { transform: `translate(${x} ${y})` });
      const [first, last] = this.results(state, data);
      gains.textContent = state.affine === "none" ? "γ = 1" : `γ, one per ${this.each(state.norm) ? "element" : "channel"}: stays`;
      const shares = [first, last, first.map((v, i) => v - last[i])].map((row) => row.map((v) => v / data.full));
      shares.push(values.gamma.map((v) => (v - 1) / data.fullGamma));
      shares.forEach((row, r) => row.forEach((share, i) => color(tiles[r][i], share)));
    };
  },
});
