// What booktools.check_site runs in a page, function by function.
({
  // What is folded away, or not laid out yet, has to hold as well; returned is how wide
  // the page is, and how wide it is seen.
  unfolded() {
    for (const e of document.querySelectorAll("details")) e.open = true;
    const style = document.createElement("style");
    style.textContent = "* { content-visibility: visible !important }";
    document.head.append(style);
    const page = document.documentElement;
    return [page.scrollWidth, page.clientWidth];
  },

  // One element for each pair of colors and size of type: contrast is the same for all
  // the others, and a page has thousands. It has to be one that axe sees.
  sample() {
    const clear = "rgba(0, 0, 0, 0)", style = getComputedStyle, found = new Map();
    for (const e of document.querySelectorAll("body *")) {
      const own = [...e.childNodes].some((n) => n.nodeType === 3 && n.data.trim());
      if (!own || e.closest(".katex-mathml")) continue;
      if (!e.checkVisibility({checkVisibilityCSS: true})) continue;
      const box = e.getBoundingClientRect();
      if (box.bottom <= 0 || box.right <= 0) continue;
      let under = e;
      while (under && style(under).backgroundColor === clear) under = under.parentElement;
      const s = style(e), ground = under && style(under).backgroundColor;
      const key = [s.color, s.opacity, s.fontSize, s.fontWeight, ground].join();
      const before = found.get(key);
      if (!before || before.childElementCount > e.childElementCount) found.set(key, e);
    }
    window.sample = [...new Set([...(window.sample ?? []), ...found.values()])];
  },

  // Tokens of code and pieces of a formula have a color and a place, but no meaning:
  // those outside the sample only take time. axe reads text, not MathML.
  trim() {
    for (const e of document.querySelectorAll(".katex-mathml"))
      e.textContent = e.querySelector("annotation").textContent;
    const holds = (e) => window.sample.some((part) => e !== part && e.contains(part));
    for (const e of document.querySelectorAll(".katex-html"))
      if (!holds(e)) e.replaceChildren();
    for (const e of document.querySelectorAll("pre"))
      if (!holds(e)) e.textContent = e.textContent;
  },

  contrast() {
    const options = { runOnly: ["color-contrast"], resultTypes: ["violations"] };
    return axe.run(window.sample, options);
  },

  rest() {
    const rules = {
      "color-contrast": { enabled: false }, "target-size": { enabled: true } };
    return axe.run(document, { rules, resultTypes: ["violations"] });
  },

  // Fonts are there, and what observes the width of a box has been told of it.
  async settled() {
    await document.fonts.ready;
    for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
  },

  // Of each kind a request to another host; returned are those that the page permits.
  async permitted() {
    const other = "https://example.org/x", refused = new Set();
    addEventListener("securitypolicyviolation", (event) => {
      refused.add(event.effectiveDirective);
    });
    const load = (tag, attributes) => document.body.append(
      Object.assign(document.createElement(tag), attributes));
    load("script", { src: other });
    load("link", { rel: "stylesheet", href: other });
    load("img", { src: other });
    load("iframe", { src: other });
    load("audio", { src: other });
    load("object", { data: other });
    fetch(other).catch(() => {});
    new FontFace("other", `url(${other})`).load().catch(() => {});
    const kinds = ["script-src-elem", "style-src-elem", "img-src", "frame-src",
      "media-src", "object-src", "connect-src", "font-src"];
    const end = performance.now() + 2000;
    while (performance.now() < end && !kinds.every((kind) => refused.has(kind)))
      await new Promise((done) => setTimeout(done, 20));
    return kinds.filter((kind) => !refused.has(kind));
  },

  // What a reader uses on every page; returned is what does nothing.
  async idle() {
    const idle = [], theme = document.querySelector("button.theme");
    const paper = () => getComputedStyle(document.body).backgroundColor;
    const before = paper();
    theme?.click();
    if (theme && paper() === before) idle.push("theme switch");
    theme?.click();
    const copy = document.querySelector("button.copy");
    copy?.click();
    for (let i = 0; copy?.textContent === "Copy" && i < 100; i++)
      await new Promise((done) => setTimeout(done, 10));
    if (copy?.textContent === "Copy") idle.push("copy button");
    const formula = document.querySelector(".katex-html");
    formula?.scrollIntoView();  // a section that was never near is not laid out
    for (let i = 0; i < 2; i++) await new Promise(requestAnimationFrame);
    await document.fonts.ready;
    const fonts = [...document.fonts].filter((font) => font.status === "loaded");
    if (formula && !fonts.some((font) => font.family.includes("KaTeX_Main")))
      idle.push("font of the formulas");
    return idle;
  },

  // What is wider than its box. On a wide page that is a fault of formulas and code, for
  // there is room; on a narrow one they scroll in their box, which has to show it.
  cut(wide) {
    const boxes = [...document.querySelectorAll(".katex-display, main pre")];
    return boxes.flatMap((e) => {
      const [style, kind] = [getComputedStyle(e), e.matches("pre") ? "code" : "formula"];
      if (e.scrollWidth <= e.clientWidth + 1) return [];
      const text = (e.querySelector("annotation") ?? e).textContent.trim();
      const said = `${kind} of ${e.scrollWidth} pixels in ${e.clientWidth}: ${text}`;
      if (wide) return [`cut off, ${said}`];
      const shows = style.overflowX === "auto" && /gradient/.test(style.backgroundImage);
      return shows ? [] : [`does not show that it goes on, ${said}`];
    });
  },
})
