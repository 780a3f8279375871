// Figures one can take hold of. Python wrote the page: an element `data-explorable`
// holds the static picture, the question, native inputs and, as JSON, what the figure
// needs. A file per figure calls `explorable(name, {values, sentence, draw})`:
//
//   values(state, data)            the mathematics, of nothing but its arguments
//   sentence(state, values, data)  what the picture shows now
//   draw(stage)                    builds the SVG once, returns (state, values) => update
//   shown(control, state)          whether a control means something now (optional)
//
// Here is the rest: inputs, dragging, keys, the address, guessing first, being seen.

"use strict";

const explorable = (() => {
  const NS = "http://www.w3.org/2000/svg";
  const PLACE = "try-";  // and the name: the id of a figure, and its address
  const figures = {};

  // ------------------------------------------------------------- numbers and scales

  // As `batchnorm.explorables.kinds.fixed` writes it, ties and all.
  const fixed = (value, digits = 2) => {
    const whole = Math.floor(Math.abs(value) * 10 ** digits + 0.5 + 1e-9);
    const text = String(whole).padStart(digits + 1, "0");
    const at = text.length - digits;
    return (value < 0 && whole ? "−" : "") + text.slice(0, at) + (digits ? `.${text.slice(at)}` : "");
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const scale = ([a, b], [p, q]) => {
    const to = (value) => p + (value - a) / (b - a) * (q - p);
    to.invert = (pixel) => a + (pixel - p) / (q - p) * (b - a);
    return to;
  };
  const decimals = (step) => (String(step).split(".")[1] ?? "").length;
  const raised = (n) => String(n).replace(/./g, (c) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(c)]);

  // The nearest value that a control can have; its default for what is none.
  const allowed = (control, value) => {
    if (control.options) return value in control.options ? value : control.default;
    const { low, high, step } = control;
    const number = value === "" || value === null ? NaN : Number(value);
    if (!Number.isFinite(number)) return control.default;
    const steps = Math.round((clamp(number, low, high) - low) / step);
    return Number(clamp(low + steps * step, low, high).toFixed(decimals(step)));
  };
  const reads = (control, value) => {
    const { power, at, step, unit } = control;
    if (at) return at[value] + unit;
    return power ? `10${raised(value)}` : fixed(value, decimals(step)) + unit;
  };

  // ------------------------------------------------------------------------ drawing

  const element = (tag, attributes = {}, text = null) => {
    const made = document.createElementNS(NS, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    if (text !== null) made.textContent = text;
    return made;
  };
  const place = (made, attributes) => {
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  };

  // The path of an arrow, which ends at its tip; one too short has no barbs.
  const arrow = ([x0, y0], [x1, y1], size = 9) => {
    const length = Math.hypot(x1 - x0, y1 - y0);
    const shaft = `M${x0} ${y0}L${x1} ${y1}`;
    if (length < size) return shaft;
    const [u, v] = [(x1 - x0) / length * size, (y1 - y0) / length * size];
    const barb = (side) => `${x1 - u + side * v / 2} ${y1 - v - side * u / 2}`;
    return `M${barb(1)}L${x1} ${y1}L${barb(-1)}${shaft}`;
  };

  // What lies beyond a box, [left, top, right, bottom], is no point on its edge, but an
  // arrowhead there, which points to where it is. Says whether it lies beyond.
  const beyond = (made, [x, y], [left, top, right, bottom], size = 13) => {
    const [cx, cy] = [clamp(x, left, right), clamp(y, top, bottom)];
    const far = Math.hypot(x - cx, y - cy);
    made.toggleAttribute("hidden", far < 0.01);
    if (far < 0.01) return false;
    const [u, v] = [(x - cx) / far * size, (y - cy) / far * size];
    place(made, { d: `M${cx} ${cy}L${cx - u + v / 2} ${cy - v - u / 2}L${cx - u - v / 2} ${cy - v + u / 2}Z` });
    return true;
  };

  // An SVG over the picture, in its pixels.
  class Stage {
    constructor(figure) {
      this.figure = figure;
      this.data = figure.data;
      this.svg = element("svg", {
        viewBox: `0 0 ${this.data.width} ${this.data.height}`, role: "group", "aria-label": this.data.label,
      });
      this.handles = [];
    }

    add(tag, attributes, text, parent = this.svg) {
      return parent.appendChild(element(tag, attributes, text));
    }

    // A group in which nothing is drawn beyond a box: a line that leaves it ends there.
    frame([left, top, right, bottom]) {
      const id = `${this.figure.name}-frame-${this.svg.querySelectorAll("clipPath").length}`;
      const clip = this.add("clipPath", { id });
      this.add("rect", { x: left, y: top, width: right - left, height: bottom - top }, null, clip);
      return this.add("g", { "clip-path": `url(#${id})` });
    }

    // What is dragged, and obeys the keys: `controls` are the names of those it moves,
    // right and left, then up and down; `to` turns a point into their values.
    handle(controls, label, to, parent = this.svg) {
      const made = this.add("g", { class: "handle", role: "slider", "aria-label": label }, null, parent);
      const target = this.add("circle", { class: "target" }, null, made);
      this.handles.push({ made, target, controls });
      this._drag(made, to);
      made.addEventListener("keydown", (event) => this._key(event, controls));
      made.addEventListener("focus", () => this.figure.remember());
      return made;
    }

    _drag(made, to) {
      const point = (event) => new DOMPoint(event.clientX, event.clientY).matrixTransform(this.svg.getScreenCTM().inverse());
      let grip = null;
      made.addEventListener("pointerdown", (event) => {
        if (event.button || !this.figure.open) return;
        this.figure.remember();
        made.setPointerCapture(event.pointerId);
        const box = made.firstChild.getBoundingClientRect();
        const at = point({ clientX: (box.left + box.right) / 2, clientY: (box.top + box.bottom) / 2 });
        const first = point(event);
        grip = [at.x - first.x, at.y - first.y];
        this.figure.busy(true);
      });
      made.addEventListener("pointermove", (event) => {
        if (!grip) return;
        const { x, y } = point(event);
        this.figure.change(to([x + grip[0], y + grip[1]]));
      });
      for (const end of ["pointerup", "pointercancel", "lostpointercapture"]) {
        made.addEventListener(end, () => {
          if (grip) this.figure.busy(false);
          grip = null;
        });
      }
    }

    _key(event, names) {
      if (event.altKey || event.ctrlKey || event.metaKey || !this.figure.open) return;
      const [across, up] = [names[0], names[1] ?? names[0]];
      const by = (name, steps) => {
        const control = this.figure.controls[name];
        return { [name]: this.figure.state[name] + steps * control.step };
      };
      const moves = {
        ArrowRight: () => by(across, 1), ArrowLeft: () => by(across, -1),
        ArrowUp: () => by(up, 1), ArrowDown: () => by(up, -1),
        PageUp: () => by(up, 10), PageDown: () => by(up, -10),
        Home: () => ({ [across]: this.figure.controls[across].low }),
        End: () => ({ [across]: this.figure.controls[across].high }),
      };
      if (!moves[event.key]) return;
      event.preventDefault();
      this.figure.change(moves[event.key]());
    }

    // Type and targets keep their size on the screen when the picture is shown small.
    fit() {
      const width = this.svg.getBoundingClientRect().width;
      if (!width) return;
      this.k = this.data.width / width;
      this.svg.style.setProperty("--k", this.k);
      for (const { target } of this.handles) target.setAttribute("r", Math.max(14, 12.5 * this.k));
    }

    announce(state, open) {
      for (const { made, controls } of this.handles) {
        const first = this.figure.controls[controls[0]];
        place(made, {
          tabindex: open && this.figure.shows(controls[0]) ? 0 : -1, "aria-disabled": !open,
          "aria-valuemin": first.low, "aria-valuemax": first.high, "aria-valuenow": state[controls[0]],
          "aria-valuetext": controls.map((name) => {
            const said = controls.length > 1 ? `${this.figure.controls[name].label} ` : "";
            return said + reads(this.figure.controls[name], state[name]);
          }).join(", "),
        });
      }
    }
  }

  // ------------------------------------------------------------------------- a figure

  class Figure {
    constructor(root, spec) {
      this.root = root;
      this.name = root.dataset.explorable;
      this.spec = spec;
      this.data = JSON.parse(root.querySelector("script[type='application/json']").textContent);
      this.controls = Object.fromEntries(this.data.controls.map((c) => [c.name, c]));
      this.state = this.defaults();
      this.guess = null;
      this.live = root.querySelector(".live");
      this.verdict = root.querySelector(".verdict");
      this.waits = root.querySelector(".waits");
      this.form = root.querySelector("form.guess");
      this.panel = root.querySelector("fieldset.controls");
      this._listen();
      new IntersectionObserver(([seen]) => this.see(seen.isIntersecting), { rootMargin: "25%" }).observe(root);
    }

    get open() { return this.guess !== null; }

    defaults() {
      return Object.fromEntries(Object.values(this.controls).map((c) => [c.name, c.default]));
    }

    shows(name) { return this.spec.shown?.(name, this.state) ?? true; }

    _listen() {
      const named = (event) => event.target.dataset.control;
      this.panel.addEventListener("input", (event) => {
        if (named(event)) this.change({ [named(event)]: event.target.value });
      });
      this.panel.addEventListener("focusin", () => this.remember());
      this.root.addEventListener("keydown", (event) => {
        if (event.key === "Escape" && this.before && this.open) this.change(this.before);
      });
      this.root.querySelector(".reset").addEventListener("click", () => this.change(this.defaults()));
      this.form.addEventListener("submit", (event) => {
        event.preventDefault();
        const chosen = this.form.querySelector("input:checked");
        if (!chosen) return;
        this.guess = Number(chosen.value);
        this.change({ ...this.defaults(), ...this.data.guess.reveal });
        this.enter();
      });
    }

    // Escape goes back to what was there when a control was taken up.
    remember() { this.before = { ...this.state }; }

    // The first control, and of a choice what is chosen: the keys go on from there.
    enter() {
      const first = "input:is([type='range'], :checked):not([disabled])";
      this.panel.querySelector(first)?.focus({ preventScroll: true });
    }

    // A link that is followed before the guess waits for it; it says so beside the button,
    // and stands there when the guess was made.
    visit(text) {
      const told = this.open || new URLSearchParams(text).has("guess");
      this.asked = text && !told ? `#${PLACE}${this.name}?${text}` : null;
      if (this.waits.contains(document.activeElement)) this.enter();
      this.read(text, true);
      (this.open ? this.root : this.form).scrollIntoView({ block: "nearest" });
    }

    busy(is) { this.live.setAttribute("aria-busy", is); }

    change(changes) {
      for (const [name, value] of Object.entries(changes)) {
        if (name in this.controls) this.state[name] = allowed(this.controls[name], value);
      }
      this.show();
      later(this);
    }

    // What differs from the default, as the part of an address.
    write() {
      const parts = new URLSearchParams();
      if (this.open) parts.set("guess", this.guess);
      for (const { name, default: usual } of Object.values(this.controls)) {
        if (this.state[name] !== usual) parts.set(name, this.state[name]);
      }
      return parts.toString();
    }

    // A link in the prose says nothing of a guess, and so takes none back.
    read(text, keep = false) {
      const parts = new URLSearchParams(text);
      this.state = this.defaults();
      for (const [name, value] of parts) {
        if (name in this.controls) this.state[name] = allowed(this.controls[name], value);
      }
      const guess = parts.get("guess");
      const known = guess !== null && this.data.guess.options[guess] !== undefined;
      if (known) this.guess = Number(guess);
      else if (!keep) this.guess = null;
      this.show();
    }

    see(is) {
      this.seen = is;
      if (!is) return;
      if (!this.stage) this._start();
      if (this.late) this.show();
    }

    _start() {
      const box = this.root.querySelector(".stage");
      this.stage = new Stage(this);
      this.update = this.spec.draw(this.stage);
      box.append(this.stage.svg);
      this.root.dataset.alive = "";
      new ResizeObserver(() => { this.stage.fit(); this.show(); }).observe(box);
      this.stage.fit();
      this.show();
    }

    // Before the guess the figure stays the picture that it was.
    show() {
      this.late = !this.seen;
      if (!this.stage || !this.seen) return;
      const state = this.open ? this.state : this.defaults();
      const values = this.spec.values(state, this.data);
      this.update(state, values, this.open);
      this.stage.announce(state, this.open);
      this._inputs(state);
      this._guessed();
      this._waiting();
      const said = this.spec.sentence(state, values, this.data);
      if (this.live.textContent !== said) this.live.textContent = said;
    }

    _inputs(state) {
      this.panel.disabled = !this.open;
      this.root.toggleAttribute("data-open", this.open);
      for (const input of this.panel.querySelectorAll("[data-control]")) {
        const { control: name } = input.dataset;
        const control = this.controls[name];
        input.closest(".control").toggleAttribute("data-idle", !this.shows(name));
        input.disabled = !this.shows(name);
        if (control.options) {
          input.checked = input.value === state[name];
        } else {
          if (Number(input.value) !== state[name]) input.value = state[name];
          input.setAttribute("aria-valuetext", reads(control, state[name]));
          input.parentNode.querySelector("output").textContent = reads(control, state[name]);
        }
      }
    }

    _waiting() {
      const kind = !this.asked ? "" : this.open ? "link" : "guess";
      if (this.waits.dataset.kind === kind) return;
      this.waits.dataset.kind = kind;
      this.waits.textContent = kind === "guess" ? "Guess first; then the link works." : "";
      if (kind !== "link") return;
      const link = this.waits.appendChild(document.createElement("a"));
      link.href = this.asked;
      link.textContent = "Now what the link shows";
    }

    _guessed() {
      const { options, right, why, answer } = this.data.guess;
      for (const input of this.form.querySelectorAll("input")) {
        if (this.open) input.checked = Number(input.value) === this.guess;
        input.disabled = this.open;
        input.parentNode.toggleAttribute("data-right", this.open && Number(input.value) === right);
      }
      this.form.querySelector("button").disabled = this.open;
      const wrong = [`Not “${options[this.guess]}”${why[this.guess] ? `: ${why[this.guess]}` : "."}`, answer].join(" ");
      const said = !this.open ? "" : this.guess === right ? `Right. ${answer}` : wrong;
      if (this.verdict.textContent !== said) this.verdict.textContent = said;
    }
  }

  // ----------------------------------------------------------------------- the address

  // Every entry of the history holds the state of all figures: Back undoes. A burst of
  // changes is one entry.
  const states = () => Object.fromEntries(Object.values(figures).map((f) => [f.name, f.write()]));
  const keep = () => history.replaceState({ ...history.state, explorables: states() }, "");
  let waiting = null;
  const later = (figure) => {
    if (waiting && waiting.figure !== figure) commit();
    if (waiting) clearTimeout(waiting.timer);
    waiting = { figure, timer: setTimeout(commit, 300) };
  };
  const commit = () => {
    if (!waiting) return;
    const { figure, timer } = waiting;
    clearTimeout(timer);
    waiting = null;
    const text = figure.write();
    if (history.state?.explorables?.[figure.name] === text) return;
    history.pushState({ explorables: states() }, "", `#${PLACE}${figure.name}${text && `?${text}`}`);
  };
  const visit = () => {
    const [place, text] = location.hash.slice(1).split("?");
    const figure = place.startsWith(PLACE) && figures[place.slice(PLACE.length)];
    if (!figure) return;
    figure.visit(text ?? "");
  };
  addEventListener("popstate", ({ state }) => {
    const kept = state?.explorables ?? {};
    for (const figure of Object.values(figures)) {
      if (figure.name in kept) figure.read(kept[figure.name]);
    }
  });
  addEventListener("hashchange", () => {
    commit();
    if (history.state?.explorables) return;
    visit();
    keep();
  });

  const define = (name, spec) => {
    const root = document.querySelector(`[data-explorable="${name}"]`);
    define.specs[name] = spec;
    if (!root) return;
    const figure = figures[name] = new Figure(root, spec);
    const kept = history.state?.explorables?.[name];
    if (kept !== undefined) figure.read(kept);
    else if (location.hash.slice(1).split("?")[0] === PLACE + name) visit();
    keep();
  };
  return Object.assign(define, { figures, specs: {}, fixed, clamp, scale, place, arrow, beyond });
})();
