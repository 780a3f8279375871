// The search: all records of search-index.js, in the order of how well they fit.

const GREEK = {
  α: "alpha", β: "beta", γ: "gamma", δ: "delta", ε: "epsilon", ϵ: "epsilon", η: "eta",
  θ: "theta", κ: "kappa", λ: "lambda", μ: "mu", π: "pi", ρ: "rho", σ: "sigma",
  τ: "tau", φ: "phi", χ: "chi", ω: "omega", "√": "sqrt", "∂": "partial", "∞": "infinity",
};
const EMPTY = new Set(("a about all am an and are as at be been bn batchnorm but by can did do does for from get "
  + "gets got had has have how i if in into is it its just me my no not of on only or our out so "
  + "than that the their then there they this to was we were what when where which while who why "
  + "will with you your").split(" "));
// One thing under several names: of other libraries, of other papers, of people in trouble.
const ALIKE = [
  "eval evaluation inference predict prediction test", "train training fit",
  "worse drop fall low lower bad poor below degrades", "stuck stays plateau",
  "different differs mismatch match another disagree off", "nan inf infinite isfinite",
  "explodes diverges unstable", "multiple several many", "moving running", "lr rate",
  "fp16 half float16 amp autocast bf16 bfloat16", "gpu device worker rank ddp distributed",
  "sync syncbn syncbatchnorm synchronize", "requires_grad trainable freeze frozen",
  "fuse fused fold folding", "ema swa averaging", "accumulate accumulation",
  "gan generated fake", "keras tensorflow jax framework", "norm normalization normalize",
  "residual skip resnet", "mask padding padded", "layernorm layer", "groupnorm group",
  "convert converting converted", "biased unbiased correction", "export exported onnx",
  "conv convolution convolutional", "backprop backpropagation backward",
];
const KINDS = { section: "", claim: "Claim", symptom: "Symptom", term: "Glossary", function: "Code" };
// A word in a title counts as five in the text, and who searches has a symptom more often
// than a question of evidence.
const HEAD = 5, WORTH = { section: 1, claim: 0.7, symptom: 1.5, term: 1, function: 0.9 };
const MOST = 30;

// One form for what is typed and what is written: γ is gamma, x̂ is x, σ² is sigma 2.
const plain = (text) => text.normalize("NFKD").toLowerCase()
  .replace(/[\u0300-\u036f]/g, "")
  .replace(/[α-ωϵ√∂∞]/g, (c) => (GREEK[c] ? ` ${GREEK[c]} ` : c))
  .replace(/varepsilon/g, "epsilon");
const split = (text) => plain(text).match(/\d+\.\d+|[\p{L}\p{N}_]+/gu) ?? [];
// "normalizing", "normalized" and "normalizes" are one word, and so are "row" and "rows".
const stem = (word) => (word.length > 5 ? word.replace(/(ations?|ings?|ers?|e[ds]?|s)$/, "")
  : word.replace(/([a-z]{3})s$/, "$1"));

const alike = new Map();
for (const group of ALIKE.map((names) => names.split(" ").map(stem)))
  for (const name of group) alike.set(name, [...(alike.get(name) ?? []), ...group]);

// How often each record has each word.
const has = new Map();
const records = (window.RECORDS ?? []).map(([kind, address, page, title, text]) => {
  const [head, body] = [title, text].map((part) => split(part).map(stem));
  const record = { kind, address, page, title, text, length: head.length + body.length,
    in: ` ${head.join(" ")} | ${body.join(" ")} ` };
  const count = (word, times) => {
    if (!has.has(word)) has.set(word, new Map());
    has.get(word).set(record, (has.get(word).get(record) ?? 0) + times);
  };
  head.forEach((word) => count(word, HEAD));
  body.forEach((word) => count(word, 1));
  return record;
});
const mean = records.reduce((sum, { length }) => sum + length, 0) / records.length;

// The words of the book that a typed word may stand for, and how far it does. A word that
// the book does not have may be the beginning of one.
function meant(word) {
  const begun = has.has(stem(word)) ? [] : [...has.keys()].filter((name) => name.startsWith(word));
  const found = new Map(begun.map((name) => [name, 0.5]));
  for (const name of alike.get(stem(word)) ?? []) found.set(name, 0.5);
  return found.set(stem(word), 1);
}

// The sum over words that is known as BM25: a rare word says more than a frequent one,
// the tenth time less than the first, and any less in a long text.
function search(query) {
  const all = split(query);
  const words = all.some((w) => !EMPTY.has(w)) ? all.filter((w) => !EMPTY.has(w)) : all;
  const names = words.map(meant), scores = new Map();
  let possible = 0;
  names.forEach((found) => {
    const times = new Map();
    for (const [name, share] of found)
      for (const [record, count] of has.get(name) ?? [])
        times.set(record, Math.max(times.get(record) ?? 0, share * count));
    const weight = Math.log(1 + records.length / (5 + times.size));
    possible += times.size ? weight : 0;
    for (const [record, count] of times) {
      const rated = scores.get(record) ?? { score: 0, weight: 0, had: 0 };
      rated.score += weight * count / (count + 0.5 + record.length / mean);
      rated.weight += weight;
      rated.had += 1;
      scores.set(record, rated);
    }
  });
  const phrase = ` ${words.map(stem).join(" ")} `;
  // A symptom told in words rarely has all of them in one place.
  const found = [...scores].filter(([, { weight }]) => weight > 0.5 * possible)
    .map(([record, { score, weight }]) => [record, WORTH[record.kind] * (score * weight / possible
      + (words.length > 1 && record.in.includes(phrase) ? 2 : 0))])
    .sort((a, b) => b[1] - a[1]).map(([record]) => record);
  const every = found.some((record) => scores.get(record).had === words.length);
  return { words: new Set(names.flatMap((found) => [...found.keys()])), found, every };
}

// A piece of the text around the first word that was searched for, the words marked.
function excerpt(text, words) {
  const parts = text.match(/\S+/g) ?? [];
  const hit = parts.map((part) => split(part).some((word) => words.has(stem(word))));
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
  said.textContent = !words.size ? ""
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
