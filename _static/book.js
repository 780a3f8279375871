// What a page gains with a script. Without it all of a page can be read.

const all = (selector) => document.querySelectorAll(selector);

// Light or dark: the reader's choice outlives the page, the system's is the default.
const root = document.documentElement;
const button = document.querySelector("button.theme");
button.addEventListener("click", () => {
  const system = matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light";
  const now = ["light", "dark"].includes(root.dataset.theme) ? root.dataset.theme : system;
  root.dataset.theme = now === "dark" ? "light" : "dark";
  try { localStorage.theme = root.dataset.theme; } catch { /* storage is off */ }
});

for (const pre of all(".cite pre, .cell_input pre, div[class*=highlight-]:not(.output) > div > pre")) {
  if (pre.parentNode.querySelector("button.copy")) continue;
  const copy = document.createElement("button");
  copy.className = "copy";
  copy.textContent = "Copy";
  copy.addEventListener("click", async () => {
    await navigator.clipboard.writeText(pre.textContent);
    copy.textContent = "Copied";
    setTimeout(() => { copy.textContent = "Copy"; }, 1500);
  });
  pre.after(copy);
}

// What may scroll sideways is a stop for the keyboard; what does not need not be. (An
// observer, for to ask about a section that is not laid out yet would lay it out.)
const reach = new ResizeObserver((boxes) => {
  for (const { target } of boxes) {
    if (target.scrollWidth > target.clientWidth) target.tabIndex = 0;
    else target.removeAttribute("tabindex");
  }
});
const boxes = [...all("pre, .katex-display, .scroll")];
for (const box of boxes) reach.observe(box);
// A font that comes later may widen what is inside, which does not resize the box.
document.fonts?.ready.then(() => {
  for (const box of boxes) {
    reach.unobserve(box);
    reach.observe(box);
  }
});

// The section being read, marked in the list of sections.
const sections = new Map();
for (const a of all('#sections a[href^="#"]')) {
  const section = document.getElementById(decodeURIComponent(a.hash.slice(1)));
  if (section) sections.set(section, a);
}
const mark = new IntersectionObserver((seen) => {
  for (const { target, isIntersecting } of seen) {
    if (isIntersecting) sections.get(target).dataset.seen = "";
    else delete sections.get(target).dataset.seen;
  }
  const last = [...all("#sections a[data-seen]")].pop();
  for (const a of sections.values()) a.removeAttribute("aria-current");
  last?.setAttribute("aria-current", "location");
}, { rootMargin: "0px 0px -70%" });
for (const section of sections.keys()) mark.observe(section);

// An equation or a figure of this page, shown where it is referred to.
for (const a of all('main a.internal[href^="#"]')) {
  const target = document.getElementById(decodeURIComponent(a.hash.slice(1)));
  if (!target?.matches("figure, div.math")) continue;
  let card;
  const show = () => {
    if (card) return;
    card = document.createElement("div");
    card.className = "preview";
    card.ariaHidden = "true";
    card.append(...target.cloneNode(true).childNodes);
    for (const part of card.querySelectorAll("a")) part.removeAttribute("href");
    document.body.append(card);
    const link = a.getBoundingClientRect();
    const free = document.documentElement.clientWidth - card.offsetWidth - 8;
    card.style.left = `${Math.max(8, Math.min(link.left, free))}px`;
    const below = link.bottom + card.offsetHeight + 8 < innerHeight;
    card.style.top = `${below ? link.bottom + 6 : Math.max(8, link.top - card.offsetHeight - 6)}px`;
  };
  const hide = () => { card?.remove(); card = undefined; };
  for (const on of ["pointerenter", "focus"]) a.addEventListener(on, show);
  for (const off of ["pointerleave", "blur", "click"]) a.addEventListener(off, hide);
  addEventListener("scroll", hide, { passive: true });
}

// The search quotes the pages that it finds, which a browser does not read from a disk.
if (location.protocol === "file:" && typeof DOCUMENTATION_OPTIONS !== "undefined") {
  DOCUMENTATION_OPTIONS.SHOW_SEARCH_SUMMARY = false;
}

// Paper can not be clicked.
addEventListener("beforeprint", () => all("details").forEach((d) => { d.open = true; }));

addEventListener("keydown", (event) => {
  if (event.key !== "/" || event.target.matches("input, textarea")) return;
  event.preventDefault();
  document.querySelector("input[type=search]").focus();
});
