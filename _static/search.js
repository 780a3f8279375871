// The search: all records of search-index.js, in the order of how well they fit.

const GREEK = {
  α: "alpha", β: "beta", γ: "gamma", δ: "delta", ε: "epsilon", ϵ: "epsilon", η: "eta",
  θ: "theta", κ: "kappa", λ: "lambda", μ: "mu", π: "pi", ρ: "rho", σ: "sigma",
  τ: "tau", φ: "phi", χ: "chi", ω: "omega", "√": "sqrt", "∂": "partial", "∞": "infinity",
};
const EMPTY = new Set(("a an and are as at be but by do does for from how if in is it its "
  + "my no not of on or so than that the then this to was what when which why with")
  .split(" "));
const KINDS = { section: "", claim: "Claim", term: "Glossary", function: "Code" };
const MOST = 30;

// One form for what is typed and what is written: γ is gamma, x̂ is x, σ² is sigma 2.
const plain = (text) => text.normalize("NFKD").toLowerCase()
  .replace(/[\u0300-\u036f]/g, "")
  .replace(/[α-ωϵ√∂∞]/g, (c) => (GREEK[c] ? ` ${GREEK[c]} ` : c))
  .replace(/varepsilon/g, "epsilon");
const split = (text) => plain(text).match(/[\p{L}\p{N}_]+/gu) ?? [];
// "normalizing", "normalized" and "normalizes" begin alike, and so do these.
const stem = (word) => (word.length > 5 ? word.replace(/(ations?|ings?|ers?|e[ds]?|s)$/, "") : word);

const records = (window.RECORDS ?? []).map(([kind, address, page, title, text]) => ({
  kind, address, page, title, text, in: ` ${split(text).join(" ")} `,
  head: ` ${split(`${title} ${kind === "section" ? "" : kind}`).join(" ")} `,
}));

// How well a record has a word: whole or as a beginning, in the title or in the text.
function fit(record, word) {
  const start = ` ${stem(word)}`, whole = ` ${word} `;
  const [head, text] = [record.head.includes(start), record.in.split(start).length - 1];
  if (!head && !text) return 0;
  return (head ? 8 : 0) + (record.head.includes(whole) ? 6 : 0)
    + (record.in.includes(whole) ? 2 : 0) + Math.min(text, 6) * 0.5;
}

function search(query) {
  const all = split(query);
  const words = all.some((w) => !EMPTY.has(w)) ? all.filter((w) => !EMPTY.has(w)) : all;
  if (!words.length) return { words, found: [], every: true };
  const phrase = ` ${words.join(" ")} `;
  const rated = records.map((record) => {
    const fits = words.map((word) => fit(record, word));
    const had = fits.filter(Boolean).length;
    const together = record.in.includes(phrase) || record.head.includes(phrase) ? 6 : 0;
    const score = fits.reduce((a, b) => a + b, 0) + together - record.in.length / 20000;
    return { record, had, score };
  }).filter((r) => r.had);
  const most = Math.max(0, ...rated.map((r) => r.had));
  // A symptom told in words rarely has all of them in one place.
  const enough = words.length > 2 ? most - 1 : most;
  const rank = (r) => r.score + 8 * (r.had - most);
  const found = rated.filter((r) => r.had >= enough).sort((a, b) => rank(b) - rank(a));
  return { words, found: found.map((r) => r.record), every: most === words.length };
}

// A piece of the text around the first word that was searched for, the words marked.
function excerpt(text, words) {
  const parts = text.match(/\S+/g) ?? [], stems = words.map(stem);
  const hit = parts.map((part) => split(part).some((w) => stems.some((s) => w.startsWith(s))));
  let best = 0, most = -1;
  for (let i = 0; i < parts.length; i += 4) {
    const count = hit.slice(i, i + 30).filter(Boolean).length;
    if (count > most) [best, most] = [i, count];
  }
  const first = Math.max(0, best - 2), line = document.createElement("p");
  line.append(first ? "… " : "");
  parts.slice(first, first + 34).forEach((part, i) => {
    const piece = hit[first + i] ? document.createElement("mark") : document.createTextNode(part);
    if (hit[first + i]) piece.textContent = part;
    line.append(piece, " ");
  });
  line.append(first + 34 < parts.length ? "…" : "");
  return line;
}

const input = document.querySelector(".big-search input");
const list = document.querySelector("#search-results");
const said = document.querySelector("#search-said");

function show() {
  const { words, found, every } = search(input.value);
  list.replaceChildren(...found.slice(0, MOST).map((record) => {
    const item = document.createElement("li"), a = document.createElement("a");
    a.href = record.address;
    a.textContent = record.title;
    const where = document.createElement("small");
    where.textContent = [KINDS[record.kind], record.page].filter(Boolean).join(" · ");
    item.append(a, " ", where, excerpt(record.text, words));
    return item;
  }));
  const count = found.length === 1 ? "1 place" : `${found.length} places`;
  said.textContent = !words.length ? ""
    : `${found.length ? count : "Nothing"} found${every || !found.length ? "" : ", none with all of these words"}${found.length > MOST ? `; the best ${MOST}:` : "."}`;
}

function move(event) {
  const by = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (!by) return;
  const stops = [input, ...list.querySelectorAll("a")];
  const at = stops.indexOf(document.activeElement);
  if (at < 0) return;
  event.preventDefault();
  stops[Math.min(Math.max(at + by, 0), stops.length - 1)].focus();
}

input.value = new URLSearchParams(location.search).get("q") ?? "";
input.addEventListener("input", () => {
  show();
  history.replaceState(null, "", `?q=${encodeURIComponent(input.value)}`);
});
input.form.addEventListener("submit", (event) => {
  event.preventDefault();
  list.querySelector("a")?.focus();
});
document.addEventListener("keydown", move);
show();
