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

// Layer by layer ------------------------------------------------------------------------------

const STEPS = 9;
/** Decimals with which the largest of some values has three digits. */
const places = (most) => Math.min(6, Math.max(1, 2 - Math.floor(Math.log10(most))));
const METRICS = [
  { name: "relative RMS error", needs: true, value: (t) => t.certificate?.relative_error, text: (v) => percent(v), cell: (v, most) => (100 * v).toFixed(places(100 * most)), unit: " in %", zero: true },
  { name: "signal to noise (SQNR)", needs: true, value: (t) => t.certificate?.rms_error === 0 ? 0 : t.certificate?.sqnr_db, text: (v) => v.toFixed(1) + " dB", cell: (v) => v.toFixed(1), unit: " in dB", zero: true, inverse: true },
  { name: "share of the error bound", needs: true, value: (t) => t.certificate?.bound_share, text: (v) => percent(v, 0), cell: (v) => (100 * v).toFixed(0), unit: " in %", zero: true },
  { name: "bits per weight", value: (t) => 8 * t.size_bytes / Math.max(1, t.elements), text: (v) => v.toFixed(2), cell: (v) => v.toFixed(2) },
  { name: "standard deviation", value: (t) => t.statistics.std, text: (v) => number(v, 3), cell: (v) => number(v, 3) },
  { name: "share of zeros", value: (t) => t.statistics.zeros / Math.max(1, t.elements), text: (v) => percent(v), cell: (v) => percent(v) },
];

/** What is said of a tensor at its cell. */
function lines(tensor) {
  const found = [plain(tensor.name), tensor.role + (tensor.layer === null ? "" : `, layer ${tensor.layer}`)];
  const certificate = tensor.certificate;
  const from = certificate && certificate.source_dtype !== tensor.dtype ? `${certificate.source_dtype} to ` : "";
  found.push(`${from}${tensor.dtype}, [${tensor.shape.join(", ")}], ${bytes(tensor.size_bytes)}`);
  if (certificate === null) found.push(tensor.problem === undefined ? "no certificate" : plain(tensor.problem));
  else if (certificate.rms_error === 0) found.push("exact");
  else {
    found.push(`relative error ${certificate.relative_error === null ? "infinite" : percent(certificate.relative_error, 3)}, SQNR ${decibels(certificate)}`);
    found.push(`largest error ${error(certificate.max_error)}, ${share(certificate)} of its bound`);
  }
  return found;
}

const decibels = (certificate) => certificate.rms_error === 0 ? "exact" : certificate.sqnr_db === null ? "none" : `${certificate.sqnr_db.toFixed(1)} dB`;
const share = (certificate) => certificate.bound_share === null ? "past all" : percent(certificate.bound_share, 0);

/** The tensors of the layers as rows and columns, and those outside. A cell has the worst of its tensors. */
function grids(withVectors) {
  const kept = tensors.map((tensor, at) => ({ tensor, at })).filter(({ tensor }) => withVectors || tensor.shape.length > 1);
  const columns = (list) => [...new Set(list.map(({ tensor }) => tensor.role))];
  const inside = kept.filter(({ tensor }) => tensor.layer !== null);
  const outside = kept.filter(({ tensor }) => tensor.layer === null);
  const layers = [...new Set(inside.map(({ tensor }) => tensor.layer))].sort((a, b) => a - b);
  const grid = (caption, list, rows) => {
    const cells = new Map();
    for (const one of list) {
      const key = JSON.stringify([one.tensor.layer, one.tensor.role]);
      cells.set(key, (cells.get(key) ?? []).concat(one));
    }
    return { caption, columns: columns(list), rows, cell: (layer, role) => cells.get(JSON.stringify([layer, role])) ?? [] };
  };
  return [grid("Outside the layers", outside, outside.length > 0 ? [null] : []), grid("In the layers", inside, layers)];
}

let chosen = 0;

function heat() {
  const metric = METRICS[Number(byId("metric").value)];
  const withVectors = byId("vectors").checked;
  const usable = (value) => typeof value === "number" && Number.isFinite(value) && !(metric.zero && value === 0);
  const worst = (list) => {
    const known = list.filter(({ tensor }) => usable(metric.value(tensor)));
    const by = (a, b) => (metric.inverse ? -1 : 1) * (metric.value(b.tensor) - metric.value(a.tensor));
    return known.sort(by)[0] ?? list[0];
  };
  const shown = grids(withVectors).filter((grid) => grid.rows.length > 0);
  const valuesOf = (grid) => grid.rows.flatMap((layer) => grid.columns.map((role) => {
    const one = worst(grid.cell(layer, role));
    return one === undefined ? null : metric.value(one.tensor);
  })).filter(usable);
  // The colours tell layers apart; what lies outside of them is often stored in another type.
  const perGrid = shown.map(valuesOf);
  const values = perGrid[perGrid.length - 1]?.length > 0 ? perGrid[perGrid.length - 1] : perGrid.flat();
  const most = Math.max(...values);
  // A wider range than there is, rather than colours for next to no difference.
  const least = Math.min(...values, metric.inverse ? most - 3 : most / 1.4);
  const ratios = least > 0 && most / least > 30;
  const place = (value) => ratios ? Math.log(value / least) / Math.log(most / least) : (value - least) / (most - least);
  const step = (value) => {
    if (!(most > least)) return Math.floor(STEPS / 2);
    const at = metric.inverse ? 1 - place(value) : place(value);
    return Math.min(STEPS - 1, Math.max(0, Math.floor(at * STEPS)));
  };
  const beyond = perGrid.flat();
  legend(metric, values.length > 0 ? [least, most] : null,
    [ratios, beyond.some((value) => value < least), beyond.some((value) => value > most)]);
  const cell = (list, layer, role) => {
    if (list.length === 0) return make("span", { class: "cell none", "aria-label": "none" }, "·");
    const { tensor, at } = worst(list);
    const value = metric.value(tensor);
    const exact = metric.zero && value === 0;
    const look = exact ? "exact" : usable(value) ? `h${step(value)}` : "none";
    const text = exact ? "exact" : usable(value) ? metric.cell(value, most) : "–";
    const said = exact ? "exact" : usable(value) ? metric.text(value) : "not known";
    const many = list.length > 1 ? `, the worst of ${list.length}` : "";
    return make("button", {
      type: "button", class: `cell ${look}`, tabindex: "-1", "data-tensor": at,
      "aria-label": `${plain(role)}${layer === null ? "" : `, layer ${layer}`}: ${said}${many}`,
      "aria-current": at === chosen ? "true" : "false",
    }, text);
  };
  byId("heat").replaceChildren(...shown.map((grid) => {
    const element = table(`${grid.caption}: ${metric.name}${metric.unit ?? ""}`, [grid.rows[0] === null ? make("span", { class: "hidden" }, "Place") : "Layer",
      ...grid.columns.map((role) => make("bdi", {}, plain(role.replace(/^.*\{\}\./, ""))))],
      grid.rows.map((layer) => [layer === null ? make("span", { class: "hidden" }, "outside") : String(layer),
        ...grid.columns.map((role) => cell(grid.cell(layer, role), layer, role))]), { class: "heat", role: "grid" });
    const inLayers = grid.rows[0] !== null;
    element.style.width = `${inLayers ? "max" : "min"}(100%, ${4 + grid.columns.length * (inLayers ? 5 : 9)}rem)`;
    element.querySelector("button")?.setAttribute("tabindex", "0");
    return element;
  }));
}

function legend(metric, range, [ratios, isLess, isMore]) {
  const name = metric.name[0].toUpperCase() + metric.name.slice(1);
  if (range === null) {
    byId("legend").replaceChildren(make("span", {}, `${name}: ${metric.zero ? "every tensor shown is exact" : "not known"}`));
    return;
  }
  const ends = [`${metric.text(range[0])}${isLess ? " or less" : ""}`, `${metric.text(range[1])}${isMore ? " or more" : ""}`];
  const [first, last] = metric.inverse ? ends.reverse() : ends;
  const steps = Array.from({ length: STEPS }, (_, at) => make("i", { class: `h${at}` }));
  byId("legend").replaceChildren(make("span", {}, name), make("span", {}, first),
    make("span", { class: "steps", "aria-hidden": "true" }, steps), make("span", {}, last),
    make("span", {}, ratios ? "each step by the same ratio" : "even steps"),
    ...(metric.zero ? [make("span", {}, make("i", { class: "box", "aria-hidden": "true" }), "exact")] : []));
}

/** One stop for the tabulator key; arrows go from cell to cell. */
function moveInHeat(event) {
  const moves = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0], Home: [0, -999], End: [0, 999] };
  const move = moves[event.key];
  const cell = event.target.closest?.("button.cell");
  if (move === undefined || !cell) return;
  event.preventDefault();
  const rows = [...byId("heat").querySelectorAll("tbody tr")].map((row) => [...row.querySelectorAll("button.cell")]);
  const row = rows.findIndex((cells) => cells.includes(cell));
  const next = rows[Math.min(Math.max(row + move[0], 0), rows.length - 1)];
  const column = Math.min(Math.max(rows[row].indexOf(cell) + move[1], 0), next.length - 1);
  for (const other of cell.closest("table").querySelectorAll("button.cell")) other.tabIndex = -1;
  next[column].tabIndex = 0;
  next[column].focus();
}

function errors() {
  const metrics = METRICS.map((metric, at) => ({ metric, at })).filter(({ metric }) => measured || !metric.needs);
  byId("metric").append(...metrics.map(({ metric, at }) => make("option", { value: at }, metric.name)));
  byId("metric").value = String(METRICS.findIndex((metric) => measured ? metric.needs : metric.name === "standard deviation"));
  byId("vectors").checked = !tensors.some((tensor) => tensor.shape.length > 1);
  const source = model.certificates === "measured" ? "measured against the source" : "as its certificates say";
  byId("errors-intro").textContent = measured
    ? `How far every tensor is from its source, ${source}. The more a cell stands out from the page, the larger is its error. Choose a cell to see its tensor.`
    : "Without certificates or a source no error is known; this is what the tensors themselves tell. Choose a cell to see its tensor.";
  byId("metric").addEventListener("change", heat);
  byId("vectors").addEventListener("change", heat);
  const place = byId("heat");
  const at = (event) => event.target.closest?.("[data-tensor]");
  place.addEventListener("click", (event) => {
    const cell = at(event);
    if (cell) choose(Number(cell.dataset.tensor), true);
  });
  place.addEventListener("keydown", moveInHeat);
  for (const [show, hide] of [["mouseover", "mouseout"], ["focusin", "focusout"]]) {
    place.addEventListener(show, (event) => {
      const cell = at(event);
      if (!cell) return;
      const box = cell.getBoundingClientRect();
      tip({ x: box.left + box.width / 2, y: box.top, height: box.height }, lines(tensors[Number(cell.dataset.tensor)]));
    });
    place.addEventListener(hide, hideTip);
  }
  document.addEventListener("keydown", (event) => { if (event.key === "Escape") hideTip(); });
  addEventListener("scroll", hideTip, { passive: true });
  heat();
}

// One tensor ----------------------------------------------------------------------------------

let paintHistogram = () => {};

/** Whether a tensor is meant by what was typed. */
function matches(tensor, typed) {
  const certificate = tensor.certificate;
  const text = [tensor.name, tensor.role, tensor.dtype, tensor.hash, certificate?.source_dtype, certificate?.source_hash, tensor.layer === null ? "" : `layer ${tensor.layer}`];
  const whole = text.join("\n").toLowerCase();
  // A number is meant as a whole: 1 is neither in layer 10 nor in BF16.
  const has = (word) => /^\d{1,5}$/.test(word) ? new RegExp(`(?<![0-9a-z_])${word}(?![0-9a-z_])`).test(whole) : whole.includes(word);
  return typed.toLowerCase().split(/\s+/).every(has);
}

function listTensors() {
  const found = tensors.map((tensor, at) => ({ tensor, at })).filter(({ tensor }) => matches(tensor, byId("find").value.trim()));
  byId("pick").replaceChildren(...found.map(({ tensor, at }) =>
    make("option", { value: at, selected: at === chosen }, plain(tensor.name))));
  byId("found").textContent = found.length === tensors.length ? `${count(found.length)} tensors` : `${count(found.length)} of ${count(tensors.length)} tensors`;
}

/** Shows a tensor, and brings it into view if it was asked for elsewhere. */
function choose(at, fromElsewhere) {
  chosen = at;
  const tensor = tensors[at];
  if (tensor === undefined) return;
  byId("chosen").replaceChildren(make("bdi", {}, plain(tensor.name)));
  const layer = tensor.layer === null ? "" : `, layer ${tensor.layer}`;
  byId("chosen-kind").textContent = `${plain(tensor.role)}${layer}, ${tensor.dtype}, [${tensor.shape.join(", ")}], ${bytes(tensor.size_bytes)}`;
  const beside = tensor.before !== null;
  byId("histogram-key").replaceChildren(
    make("li", {}, make("i", { class: "swatch after" }), beside ? `after: ${tensor.dtype}` : tensor.dtype),
    ...(beside ? [make("li", {}, make("i", { class: "swatch before" }), `before: ${tensor.certificate?.source_dtype ?? "source"}`)] : []));
  paintHistogram();
  statistics(tensor);
  certificate(tensor);
  bars(tensor);
  byId("pick").value = String(at);
  if (fromElsewhere && byId("pick").selectedIndex < 0) {
    byId("find").value = "";
    listTensors();
  }
  for (const cell of document.querySelectorAll("[data-tensor]")) cell.setAttribute("aria-current", String(Number(cell.dataset.tensor) === at));
  for (const row of byId("table").querySelectorAll("tbody tr")) row.classList.toggle("current", Number(row.dataset.row) === at);
  if (fromElsewhere) byId("tensor").scrollIntoView({ block: "nearest" });
}

function statistics(tensor) {
  const n = (node) => ({ node, class: "number" });
  const names = [["count", "elements"], ["min", "min"], ["max", "max"], ["mean", "mean"], ["std", "std"], ["zeros", "zeros"]];
  if ([tensor.statistics, tensor.before].some((one) => one && one.nan + one.inf > 0)) names.push(["nan", "NaN"], ["inf", "infinite"]);
  const whole = new Set(["count", "zeros", "nan", "inf"]);
  const row = (name, values) => [name, ...names.map(([key]) => whole.has(key) ? count(values[key]) : number(values[key]))];
  const rows = tensor.before === null ? [row("values", tensor.statistics)] : [row("before", tensor.before), row("after", tensor.statistics)];
  byId("statistics").replaceChildren(table("Range and moments of the finite values", [make("span", { class: "hidden" }, "Of"), ...names.map(([, name]) => n(name))], rows));
}

function certificate(tensor) {
  const place = byId("certificate");
  const { certificate, problem } = tensor;
  const facts = [];
  if (problem !== undefined) facts.push(fact("Problem", make("span", { class: "problem" }, plain(problem)), true));
  if (certificate !== null) {
    facts.push(fact("Relative RMS error", certificate.rms_error === 0 ? "exact" : certificate.relative_error === null ? "infinite" : percent(certificate.relative_error, 3)),
      fact("SQNR", decibels(certificate)), fact("RMS error", error(certificate.rms_error)), fact("Largest error", error(certificate.max_error)),
      fact("Largest bound", error(certificate.bound)), fact("Share of its bound", share(certificate)),
      fact("Hash of the source", mono(certificate.source_hash), true));
  }
  facts.push(fact("Hash", mono(tensor.hash), true));
  place.replaceChildren(...facts);
}

function bars(tensor) {
  const place = byId("bars").querySelector("div");
  const shape = tensor.histogram;
  byId("bars").hidden = shape === null;
  if (shape === null || !byId("bars").open) return place.replaceChildren();
  const edge = (at) => number(shape.min + (shape.max - shape.min) * at / shape.bins.length);
  const n = (node) => ({ node, class: "number" });
  const columns = [n("from"), n("to"), ...(shape.before ? [n("before")] : []), n(shape.before ? "after" : "values")];
  place.replaceChildren(table("Values in each bar", columns, shape.bins.map((value, at) =>
    [edge(at), edge(at + 1), ...(shape.before ? [count(shape.before[at])] : []), count(value)])));
}

function oneTensor() {
  paintHistogram = chart(byId("histogram"), (width) => {
    const tensor = tensors[chosen];
    if (!tensor?.histogram) return make("p", { class: "muted" }, "Its distribution is not on this page.");
    const { min, max } = tensor.histogram;
    const beside = tensor.before === null ? "" : ", before and after";
    return histogram(width, tensor.histogram, byId("log-counts").checked,
      `Distribution of the values of ${plain(tensor.name)}${beside}, from ${number(min)} to ${number(max)}; the table below has the numbers.`);
  });
  byId("log-counts").addEventListener("change", () => paintHistogram());
  byId("bars").addEventListener("toggle", () => tensors[chosen] && bars(tensors[chosen]));
  byId("find").addEventListener("input", listTensors);
  byId("pick").addEventListener("change", () => choose(Number(byId("pick").value), false));
  const largest = tensors.reduce((best, tensor, at) =>
    (tensor.certificate?.relative_error ?? -1) > (tensors[best].certificate?.relative_error ?? -1) ? at : best, 0);
  chosen = largest;
  listTensors();
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
    ? ["–", "–", "–", problem === undefined ? "–" : { node: plain(problem), class: "problem" }, "–"]
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
