// A gradient for a batch of three, turned by hand, and what is left of it.

"use strict";

explorable("cannot-pass", {
  dot: (a, b) => a.reduce((sum, v, i) => sum + v * b[i], 0),

  // Rows of the basis: along 1, along x̂ and tangent to the circle.
  along({ phi, theta }, { norm }) {
    const [turn, lift] = [phi, theta].map((degrees) => degrees * Math.PI / 180);
    const flat = norm * Math.cos(lift);
    return [norm * Math.sin(lift), flat * Math.cos(turn), flat * Math.sin(turn)];
  },

  values(state, data) {
    const { basis, var: variance } = data;
    const dyAlong = this.along(state, data);
    const share = state.eps / (variance + state.eps);
    const passes = [0, share, 1];  // the eigenvalues
    const leftAlong = dyAlong.map((v, i) => passes[i] * v);
    const examples = (along) => basis[0].map((_, i) => this.dot(along, basis.map((row) => row[i])));
    return {
      dy: examples(dyAlong), left: examples(leftAlong),
      dy_along: dyAlong, left_along: leftAlong,
      share, length: Math.hypot(...leftAlong), rank: passes.filter((v) => v > 1e-9).length,
    };
  },

  sentence({ eps }, { dy_along: [one, across], share, length, rank }, { norm }) {
    const { fixed } = explorable;
    const left = `dy is ${fixed(norm)} long, and what is left ${fixed(length)}`;
    if (eps === 0) {
      return `The parts of dy along 1, ${fixed(one)}, and along x̂, ${fixed(across)}, are taken off. ${left}. `
        + `Two of three directions are lost: the rank is ${rank}.`;
    }
    return `The part of dy along 1, ${fixed(one)}, is taken off. Of that along x̂, ${fixed(across)}, the share `
      + `ε/(σ² + ε) = ${fixed(share)} passes. ${left}. One of three directions is lost: the rank is ${rank}.`;
  },

  // The turn and lift, near those that are, whose tip is nearest to a point.
  nearest(point, state, data, project) {
    const from = [0, Math.sqrt(3), 0];
    const off = (s) => {
      const [x, y] = project(this.along(s, data).map((v, i) => v + from[i]));
      return Math.hypot(x - point[0], y - point[1]);
    };
    const wrap = (degrees) => (degrees + 540) % 360 - 180;
    let best = state, least = off(state);
    for (let step = 20; step >= 5; step -= step > 5 ? 15 : 5) {
      for (let better = true; better;) {
        better = false;
        for (const [a, b] of [[step, 0], [-step, 0], [0, step], [0, -step]]) {
          const next = { phi: wrap(best.phi + a), theta: explorable.clamp(best.theta + b, -90, 90) };
          if (off(next) < least - 1e-9) [best, least, better] = [next, off(next), true];
        }
      }
    }
    return { phi: best.phi, theta: best.theta };
  },

  draw(stage) {
    const { arrow, place, scale } = explorable;
    const { data } = stage, { center, unit, rows, norm } = data;
    const [[cosTurn, sinTurn], [cosTilt, sinTilt]] = data.view.map((a) => [Math.cos(a), Math.sin(a)]);
    const project = ([up, across, tangent]) => [
      center[0] + unit * (cosTurn * across + sinTurn * tangent),
      center[1] - unit * (cosTilt * up + sinTilt * (cosTurn * tangent - sinTurn * across)),
    ];
    const ellipse = (points) => {
      const at = Array.from({ length: 73 }, (_, i) => points(i * Math.PI / 36)).map(project);
      return `M${at.map(([x, y]) => `${x} ${y}`).join("L")}`;
    };
    const tip = [0, Math.sqrt(3), 0], origin = project([0, 0, 0]), foot = project(tip), up = project([1.5, 0, 0]);

    const rim = ellipse((angle) => [0, tip[1] * Math.cos(angle), tip[1] * Math.sin(angle)]);
    stage.add("path", { class: "plane", d: rim });
    const sphere = stage.add("circle", { class: "guide", cx: foot[0], cy: foot[1], r: norm * unit });
    const reach = stage.add("path", { class: "reach" });
    stage.add("path", { class: "mean", d: arrow(origin, up), "data-mark": "one" });
    stage.add("path", { class: "mean", d: arrow(origin, foot), "data-mark": "x_hat" });
    stage.add("text", { class: "bold", x: up[0], y: up[1] - 14 }, "1");
    stage.add("text", { class: "bold", x: (origin[0] + foot[0]) / 2 - 12, y: (origin[1] + foot[1]) / 2 + 8 }, "x̂");
    const off = stage.add("path", { class: "line gradient dashed" });
    const corner = stage.add("path", { class: "line", "data-mark": "corner" });
    const given = stage.add("path", { class: "line gradient", "data-mark": "dy_tip" });
    const left = stage.add("path", { class: "line value thick", "data-mark": "left" });
    const names = ["along 1", "along x̂"].map((name) => stage.add("text", { class: "name halo said gradient" }, name));

    const bar = scale([-norm, norm], data.bar), zero = bar(0);
    for (const [title, y] of [["By direction", 26], ["By example", 186]]) {
      stage.add("text", { class: "reading bold", x: 500, y }, title);
      stage.add("text", { class: "reading bold said gradient", x: zero - 7, y }, "dy");
      stage.add("text", { class: "name said value", x: zero + 7, y }, "left");
    }
    const labels = { one: "along 1", x_hat: "along x̂", tangent: "tangent" };
    const bars = Object.entries(rows).map(([name, y]) => {
      stage.add("text", { class: "reading", x: 500, y }, labels[name] ?? name.replace("_", " "));
      return [["given", "gradient", -5], ["left", "value", 6]].map(([kind, color, lift]) => ({
        y: y + lift,
        made: stage.add("path", { class: `bar ${color}`, "data-mark": `${kind}_${name}` }),
      }));
    });
    for (const [first, last] of [["one", "tangent"], ["example_1", "example_3"]]) {
      stage.add("path", { class: "axis", d: `M${zero} ${rows[first] - 14}V${rows[last] + 14}` });
    }
    const to = (point) => this.nearest(point, stage.figure.state, data, project);
    const handle = stage.handle(["phi", "theta"], "tip of dy", to);
    stage.svg.append(...names);  // above the handle
    handle.classList.add("gradient");
    handle.dataset.mark = "dy";
    stage.add("circle", { class: "dot", r: 8 }, null, handle);

    return (state, values, open) => {
      const from = (along) => project(along.map((v, i) => v + tip[i]));
      const [one, across, tangent] = values.dy_along;
      const [at, bend, end] = [from(values.dy_along), from([0, across, tangent]), from(values.left_along)];
      place(handle, { transform: `translate(${at[0]} ${at[1]})` });
      place(given, { d: arrow(foot, at) });
      place(left, { d: arrow(foot, end, 11) });
      place(off, { d: `M${at.join(" ")}L${bend.join(" ")}L${end.join(" ")}` });
      place(corner, { d: `M${at.join(" ")}L${bend.join(" ")}` });
      place(names[0], { x: at[0] + 8, y: (at[1] + bend[1]) / 2 });
      place(names[1], { x: (bend[0] + end[0]) / 2 - 8, y: (bend[1] + end[1]) / 2 + 20 });
      // A name needs room: a line of its own, and a picture that is not small.
      [one, across * (1 - values.share)].forEach((length, i) => {
        names[i].toggleAttribute("hidden", Math.abs(length) < 0.4 || stage.k > 1.6);
      });
      const ends = [[...values.dy_along, ...values.dy], [...values.left_along, ...values.left]];
      bars.forEach((pair, row) => pair.forEach(({ made, y }, kind) => place(made, { d: `M${zero} ${y}H${bar(ends[kind][row])}` })));
      // All that can be left: the answer to the guess.
      for (const part of [reach, sphere]) part.toggleAttribute("hidden", !open);
      place(reach, { d: ellipse((a) => [0, tip[1] + values.share * norm * Math.cos(a), norm * Math.sin(a)]) });
    };
  },
});
