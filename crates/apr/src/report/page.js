// The page of one model, from the data that lies in it.
const model = JSON.parse(byId("data").textContent);
const tensors = model.tensors;
const measured = model.certificates !== null;

// The model as a whole ------------------------------------------------------------------------

const VERDICTS = {
  proven: ["✓ PROVEN", "good"],
  certified: ["✓ CERTIFIED", "good"],
  not_certified: ["NOT CERTIFIED", ""],
  not_proven: ["✗ NOT PROVEN", "bad"],
};

function summary() {
  byId("name").append(make("bdi", {}, plain(model.name)));
  const kind = [model.architecture ?? "an architecture that apr does not know", model.format, model.recipe];
  if (model.against !== null) kind.push(`measured against ${model.against}`);
  byId("kind").textContent = kind.filter((part) => part !== null).map(plain).join(" · ");
  const [word, look] = VERDICTS[model.verdict.status];
  byId("verdict").textContent = word;
  if (look) byId("verdict").classList.add(look);
  byId("reason").textContent = plain(model.verdict.reason);
  if (model.verdict.seal === null) byId("seal").remove();
  else byId("seal").append("Seal ", make("code", {}, model.verdict.seal));
  const types = new Map();
  for (const tensor of tensors) types.set(tensor.dtype, (types.get(tensor.dtype) ?? 0) + 1);
  const errors = tensors.map((tensor) => tensor.certificate?.relative_error).filter((value) => typeof value === "number");
  byId("figures").append(
    figure("Parameters", short(model.parameters), count(model.parameters)),
    figure("File size", bytes(model.file_size), `${count(model.file_size)} bytes`),
    figure("Bits per weight", model.bits_per_weight.toFixed(2), "of the whole file"),
    figure("Tensors", count(tensors.length), [...types].sort((a, b) => b[1] - a[1]).map(([type, n]) => `${n} ${type}`).join(", ")));
  if (errors.length > 0) {
    byId("figures").append(figure("Largest relative error", percent(Math.max(...errors)), "RMS, of a tensor"));
  }
  if (model.divergence !== null) {
    byId("figures").append(figure("Mean KL", error(model.divergence.divergence.mean_kl), "nats, to the source"));
  }
  const config = model.config;
  const facts = [["Architecture", model.architecture ?? "unknown"], ["Recipe", model.recipe], ["Layers", count(model.num_layers)]];
  if (config !== null) {
    const shared = config.num_heads === config.num_kv_heads ? "" : `, ${config.num_kv_heads} for keys and values`;
    facts.push(["Heads", config.num_heads + shared], ["Hidden size", count(config.hidden_size)],
      ["Vocabulary", count(config.vocab_size)], ["Longest text", `${count(config.context_length)} tokens`]);
  }
  byId("facts").append(...facts.filter(([, value]) => value).map(([name, value]) => fact(name, plain(value))));
  byId("remarks").hidden = model.remarks.length === 0;
  byId("remarks").append(...model.remarks.map((remark) => make("li", {}, plain(remark))));
  origin();
  byId("footer").textContent = `Written by ${model.tool}. This page is one file and loads nothing from anywhere.`;
}

function origin() {
  byId("origin").hidden = model.sources.length + model.metadata.length === 0;
  const place = byId("origin").querySelector("div");
  place.classList.add("scroll");
  if (model.sources.length > 0) {
    place.append(table("The files that it was made from, as it says itself",
      ["File", { node: "Size", class: "number" }, "SHA-256"],
      model.sources.map((file) => [make("bdi", {}, plain(file.name)), bytes(file.size), mono(file.sha256)])));
  }
  if (model.metadata.length > 0) {
    place.append(table("What the file says of itself", ["Key", { node: "Value", class: "wrap" }],
      model.metadata.map((entry) => [make("bdi", {}, plain(entry.key)), make("bdi", {}, plain(entry.value))])));
  }
}

// Sizes ---------------------------------------------------------------------------------------

function sizes() {
  const total = Math.max(1, model.sizes.reduce((sum, size) => sum + size.size_bytes, 0));
  const types = new Map();
  const roles = new Map();
  const add = (map, key, size) => {
    const sum = map.get(key) ?? { tensors: 0, elements: 0, size_bytes: 0, parts: [] };
    for (const name of ["tensors", "elements", "size_bytes"]) sum[name] += size[name];
    sum.parts.push(size);
    map.set(key, sum);
  };
  for (const size of model.sizes) {
    add(types, size.dtype, size);
    add(roles, size.role, size);
  }
  const order = [...types].sort((a, b) => b[1].size_bytes - a[1].size_bytes);
  const look = new Map(order.map(([type], at) => [type, "t" + Math.min(at, 7)]));
  const share = (of) => `${(100 * of / total).toFixed(1)} %`;
  const piece = (type, size, of) => {
    const element = make("span", { class: look.get(type) });
    element.style.width = `${100 * size / of}%`;
    return element;
  };
  byId("by-type").append(
    make("div", { class: "stack", "aria-hidden": "true" }, order.map(([type, sum]) => piece(type, sum.size_bytes, total))),
    make("ul", { class: "key", "aria-label": "Bytes of each type" }, order.map(([type, sum]) => make("li", {},
      make("i", { class: `swatch ${look.get(type)}` }), `${type}: ${bytes(sum.size_bytes)}, ${share(sum.size_bytes)}`))));
  const largest = Math.max(1, ...[...roles.values()].map((sum) => sum.size_bytes));
  const bits = (sum) => (8 * sum.size_bytes / Math.max(1, sum.elements)).toFixed(2);
  const n = (node) => ({ node, class: "number" });
  const row = (name, sum, types, bar) => [{ node: name, class: "name" }, types, count(sum.tensors), count(sum.elements),
    bytes(sum.size_bytes), share(sum.size_bytes), bits(sum), { node: bar, class: "bar" }];
  const rows = [...roles].map(([role, sum]) => row(make("bdi", {}, plain(role)), sum,
    [...new Set(sum.parts.map((part) => part.dtype))].join(", "),
    make("div", { class: "track", "aria-hidden": "true" }, sum.parts.map((part) => piece(part.dtype, part.size_bytes, largest)))));
  const element = table("Bytes by role, in the order of the model",
    ["Role", "Type", n("Tensors"), n("Elements"), n("Size"), n("Share"), n("Bits per weight"), make("span", { class: "hidden" }, "Size as a bar")], rows);
  const all = model.sizes.reduce((sum, size) => ({ tensors: sum.tensors + size.tensors,
    elements: sum.elements + size.elements, size_bytes: sum.size_bytes + size.size_bytes }), { tensors: 0, elements: 0, size_bytes: 0 });
  element.append(make("tfoot", {}, make("tr", {}, row("All", all, "", "").map((cell, at) => make(at === 0 ? "th" : "td",
    { scope: at === 0 ? "row" : undefined, class: at > 1 && at < 7 ? "number" : undefined }, cell.node ?? cell)))));
  byId("by-role").append(element);
}

// Over a text ---------------------------------------------------------------------------------

function overText() {
  const kl = model.divergence;
  if (kl === null) return;
  byId("text").hidden = false;
  const source = kl.text_source === null ? "" : ` (${kl.text_source})`;
  byId("text-intro").textContent = `How far the distributions of the next token are from those of ${plain(model.against)}, as the divergence of Kullback and Leibler in nats. Text: ${plain(kl.text)}${source}; ${count(kl.tokens)} tokens, ${count(kl.scored)} of them scored in windows of ${count(kl.window)}, each alone from its second token.`;
  byId("text-figures").append(figure("Perplexity", kl.perplexity.toFixed(4)), figure("That of the source", kl.reference_perplexity.toFixed(4)),
    figure("Mean KL", error(kl.divergence.mean_kl), "nats"), figure("Same most likely token", percent(kl.divergence.same_top1)));
  const n = (node) => ({ node, class: "number" });
  const row = (name, of) => [name, error(of.mean_kl), error(of.median_kl), error(of.p99_kl), error(of.max_kl), percent(of.same_top1), error(of.rms_p_change), count(of.positions)];
  byId("text-table").append(table("KL to the source; the noise floor is what rounding alone makes of the model on the first window",
    [make("span", { class: "hidden" }, "Of"), ...["mean", "median", "99th percentile", "largest", "same top token", "RMS Δp", "positions"].map(n)],
    [row("model", kl.divergence), row("noise floor", kl.noise_floor)]));
  const paint = [["along", kl.along_text, "along the text"], ["in-window", kl.in_window, "by the place in the window"]].map(([id, ranges, what]) =>
    chart(byId(id), (width) => divergences(width, ranges, kl.noise_floor.mean_kl, byId("log-kl").checked,
      `Divergence ${what}: mean ${error(kl.divergence.mean_kl)}, largest ${error(kl.divergence.max_kl)} nats; the table below has the numbers.`)));
  byId("log-kl").addEventListener("change", () => paint.forEach((again) => again()));
  byId("kl-rows").addEventListener("toggle", () => {
    const place = byId("kl-rows").querySelector("div");
    if (!byId("kl-rows").open) return place.replaceChildren();
    const rows = kl.along_text.map((range) => [count(range.first), count(range.last), number(range.mean_kl, 3), number(range.max_kl, 3)]);
    place.replaceChildren(table("KL along the text", ["from token", "to", "mean", "largest"].map(n), rows));
  });
}

// Every tensor --------------------------------------------------------------------------------

/** Rows that are drawn at once. */
const AT_ONCE = 500;
const COLUMNS = [
  { name: "Tensor", key: (t) => t.name },
  { name: "Role", key: (t) => t.role },
  { name: "Type", key: (t) => t.dtype },
  { name: "Elements", key: (t) => t.elements, number: true },
  { name: "Size", key: (t) => t.size_bytes, number: true },
  { name: "Max error", key: (t) => t.certificate?.max_error, number: true },
  { name: "RMS error", key: (t) => t.certificate?.rms_error, number: true },
  { name: "Relative", key: (t) => t.certificate?.relative_error, number: true },
  { name: "SQNR", key: (t) => t.certificate && (t.certificate.sqnr_db ?? (t.certificate.rms_error === 0 ? Infinity : -Infinity)), number: true },
  { name: "Of bound", key: (t) => t.certificate && (t.certificate.bound_share ?? Infinity), number: true },
  { name: "Hash", key: (t) => t.hash },
  { name: "Source hash", key: (t) => t.certificate?.source_hash },
];
const order = { column: null, falling: false, most: AT_ONCE };

function ordered() {
  const typed = byId("filter").value.trim();
  const rows = tensors.map((tensor, at) => ({ tensor, at })).filter(({ tensor }) => typed === "" || matches(tensor, typed));
  if (order.column === null) return rows;
  const { key } = COLUMNS[order.column];
  const known = (value) => value !== null && value !== undefined;
  const natural = new Intl.Collator("en", { numeric: true });
  return rows.sort((a, b) => {
    const [one, other] = [key(a.tensor), key(b.tensor)];
    // What is not known comes last, whichever way the rest goes.
    if (!known(one) || !known(other)) return Number(known(other)) - Number(known(one));
    const sign = order.falling ? -1 : 1;
    return sign * (typeof one === "string" ? natural.compare(one, other) : one === other ? 0 : one < other ? -1 : 1);
  });
}

function row({ tensor, at }) {
  const { certificate, problem } = tensor;
  const from = certificate?.source_dtype;
  const name = make("button", { type: "button", class: "link", "data-choose": at }, plain(tensor.name));
  const hash = (text) => make("span", { class: "mono", title: text }, text.slice(0, 8));
  const figures = certificate === null
    ? ["–", "–", "–", "–", problem === undefined ? "–" : { node: "✗ failed", class: "number bad" }]
    : [column(certificate.max_error), column(certificate.rms_error),
      certificate.relative_error === null ? "infinite" : percent(certificate.relative_error, 3), decibels(certificate),
      certificate.bound_share !== null && certificate.bound_share <= 1 ? share(certificate) : { node: share(certificate), class: "number bad" }];
  return { class: at === chosen ? "current" : undefined, cells: [name, plain(tensor.role),
    from !== undefined && from !== tensor.dtype ? `${from} → ${tensor.dtype}` : tensor.dtype,
    count(tensor.elements), bytes(tensor.size_bytes), ...figures, hash(tensor.hash), certificate === null ? "–" : hash(certificate.source_hash)] };
}

function certificates() {
  const rows = ordered();
  const columns = COLUMNS.map((column, at) => ({
    node: make("button", { type: "button", class: "sort", "data-column": at }, column.name),
    class: column.number ? "number" : undefined,
    sorted: order.column === at ? (order.falling ? "descending" : "ascending") : "none",
  }));
  const visible = rows.slice(0, order.most);
  const focused = document.activeElement?.dataset?.column;
  const element = table("Every tensor with its certificate", columns, visible.map(row));
  [...element.tBodies[0].rows].forEach((line, at) => { line.dataset.row = visible[at].at; });
  byId("table").replaceChildren(element);
  if (focused !== undefined) byId("table").querySelector(`[data-column="${Number(focused)}"]`)?.focus();
  byId("shown").textContent = rows.length === tensors.length ? `${count(rows.length)} tensors` : `${count(rows.length)} of ${count(tensors.length)} tensors`;
  byId("more").hidden = rows.length <= order.most;
  byId("more").textContent = `Show all ${count(rows.length)}`;
}

function everyTensor() {
  const sources = {
    measured: `Measured against ${plain(model.against)} for this page, element by element.`,
    file: "As the certificates in the file say.",
    null: "The file holds no certificates, and no source was at hand.",
  };
  byId("certificates-intro").textContent = `${sources[model.certificates]} Of bound is the share of the error that the type allows which the worst element takes. Hashes are XXH3-128 of the bytes; their beginnings are shown.`;
  byId("filter").addEventListener("input", certificates);
  byId("more").addEventListener("click", () => { order.most = Infinity; certificates(); });
  byId("table").addEventListener("click", (event) => {
    const { column, choose: at } = event.target.closest("button")?.dataset ?? {};
    if (column !== undefined) {
      order.falling = order.column === Number(column) && !order.falling;
      order.column = Number(column);
      certificates();
    } else if (at !== undefined) choose(Number(at), true);
  });
  addEventListener("beforeprint", () => { order.most = Infinity; certificates(); });
  certificates();
}

// The page itself -----------------------------------------------------------------------------

function theme() {
  const button = byId("theme");
  const system = matchMedia("(prefers-color-scheme: dark)");
  const show = () => {
    const dark = (document.documentElement.dataset.theme ?? (system.matches ? "dark" : "light")) === "dark";
    button.setAttribute("aria-pressed", String(dark));
    return dark;
  };
  button.addEventListener("click", () => {
    document.documentElement.dataset.theme = show() ? "light" : "dark";
    show();
  });
  system.addEventListener("change", show);
  show();
}

function navigation() {
  for (const section of document.querySelectorAll("[data-nav]")) {
    if (!section.hidden) byId("nav").append(make("a", { href: `#${section.id}` }, section.dataset.nav));
  }
}

theme();
summary();
sizes();
oneTensor();
errors();
overText();
everyTensor();
choose(chosen, false);
navigation();
