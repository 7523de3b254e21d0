// The heat map of layers and roles, and the one tensor that is chosen in it. Uses the parts, and the
// data of the page.

// Layer by layer ------------------------------------------------------------------------------

const STEPS = 9;
/** Cells of a map; names without a pattern would make more than a browser can draw. */
const MOST_CELLS = 20000;
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
    const failed = metric.needs && list.find(({ tensor }) => tensor.problem !== undefined);
    if (failed) return failed;
    const known = list.filter(({ tensor }) => usable(metric.value(tensor)));
    const by = (a, b) => (metric.inverse ? -1 : 1) * (metric.value(b.tensor) - metric.value(a.tensor));
    return known.sort(by)[0] ?? list[0];
  };
  const shown = grids(withVectors).filter((grid) => grid.rows.length > 0);
  if (shown.some((grid) => grid.rows.length * grid.columns.length > MOST_CELLS)) {
    byId("legend").replaceChildren();
    byId("heat").replaceChildren(make("p", {}, "Its tensors are of too many kinds for a map; the list below has them all."));
    return;
  }
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
    const failed = metric.needs && list.some(({ tensor }) => tensor.problem !== undefined);
    const look = failed ? "failed" : exact ? "exact" : usable(value) ? `h${step(value)}` : "none";
    const text = failed ? "✗" : exact ? "exact" : usable(value) ? metric.cell(value, most) : "–";
    const said = failed ? "could not be compared" : exact ? "exact" : usable(value) ? metric.text(value) : "not known";
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
  // What needs a look first: a tensor that could not be compared, else the one that lost most.
  const need = (tensor) => (tensor.problem !== undefined ? Infinity : tensor.certificate?.relative_error ?? -1);
  const largest = tensors.reduce((best, tensor, at) => (need(tensor) > need(tensors[best]) ? at : best), 0);
  chosen = largest;
  listTensors();
}

