"use strict";
// What the page is built of: elements, numbers, tables and charts. Whatever comes from the model
// enters the page as text of a node or value of an attribute that is no program, never as markup.

/** The name of the vocabulary; nothing is loaded from there. */
const SVG = "http://www.w3.org/2000/svg";

/** An element with attributes and children; strings become text. */
function make(tag, attributes = {}, ...children) {
  return fill(document.createElement(tag), attributes, children);
}

/** The same within a drawing. */
function draw(tag, attributes = {}, ...children) {
  return fill(document.createElementNS(SVG, tag), attributes, children);
}

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  for (const child of children.flat()) {
    if (child !== undefined && child !== null) element.append(child);
  }
  return element;
}

const byId = (id) => document.getElementById(id);

/** Text of a file with the characters that would change the text around it made visible. */
function plain(text) {
  const hidden = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]/g;
  const code = (c) => "\\u" + c.charCodeAt(0).toString(16).padStart(4, "0");
  return String(text).replace(hidden, code);
}

const count = (number) => number.toLocaleString("en-US");

/** `1.2 MB`: decimal units, three significant digits. */
function bytes(value) {
  let unit = "B";
  for (const larger of ["kB", "MB", "GB", "TB"]) {
    if (value < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  return value.toFixed(unit === "B" || value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2) + " " + unit;
}

/** `1.97 M` */
function short(value) {
  let unit = "";
  for (const larger of [" k", " M", " B", " T"]) {
    if (value < 999.5) break;
    value /= 1000;
    unit = larger;
  }
  return Number(value.toPrecision(3)) + unit;
}

/** Some significant digits: `-0.01235`, `1.235e-9`. */
function number(value, digits = 4) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (value === 0) return "0";
  if (size < 1e-4 || size >= 1e6) return powers(value, digits);
  return String(Number(value.toPrecision(digits)));
}

/** `2.2×10⁻⁵` */
function powers(value, digits) {
  const [factor, power] = value.toExponential(digits - 1).split("e");
  const raised = [...String(Number(power))].map((sign) => (sign === "-" ? "⁻" : "⁰¹²³⁴⁵⁶⁷⁸⁹"[sign])).join("");
  return `${factor === "1" ? "" : factor + "×"}10${raised}`;
}

/** An error in a column, where all of them have one form. */
const column = (value) => (value === 0 ? "0" : powers(value, 2));

/** An error or a divergence, of which the size matters. */
const error = (value) => number(value, 2);

function percent(share, decimals = 2) {
  if (share === 0) return "0 %";
  const value = 100 * share;
  const least = 10 ** -decimals;
  return (value < least ? powers(value, 2) : value.toFixed(decimals)) + " %";
}

/**
 * A table of cells that are text, nodes or `{ node, class, head }`.
 * The first column of the body holds the headers of the rows.
 */
function table(caption, columns, rows, attributes = {}) {
  const content = (cell) => (cell instanceof Node || typeof cell === "string" ? cell : cell.node);
  const head = columns.map((column) =>
    make("th", { scope: "col", class: column.class, "aria-sort": column.sorted }, content(column)));
  return make("table", attributes,
    make("caption", {}, caption),
    make("thead", {}, make("tr", {}, head)),
    make("tbody", {}, rows.map((row) => make("tr", { class: row.class },
      (row.cells ?? row).map((cell, at) => at === 0
        ? make("th", { scope: "row", class: cell.class ?? columns[at].class }, content(cell))
        : make("td", { class: cell.class ?? columns[at].class }, content(cell)))))));
}

/** A number in a list of figures. */
function figure(name, value, note) {
  return make("div", {}, make("dt", {}, name),
    make("dd", {}, value, note === undefined ? undefined : make("small", {}, note)));
}

function fact(name, value, wide) {
  return make("div", { class: wide && "whole" }, make("dt", {}, name), make("dd", {}, value));
}

const mono = (text) => make("span", { class: "mono" }, plain(text));

// Tooltips ------------------------------------------------------------------------------------

/** Shows lines beside a place on the screen; the first is a name. */
function tip(place, lines) {
  const box = byId("tip");
  box.replaceChildren(make("b", {}, lines[0]), ...lines.slice(1).map((line) => make("div", {}, line)));
  box.hidden = false;
  const { width, height } = box.getBoundingClientRect();
  const left = Math.min(Math.max(8, place.x - width / 2), innerWidth - width - 8);
  const above = place.y - height - 10;
  box.style.left = left + "px";
  box.style.top = (above > 4 ? above : place.y + (place.height ?? 0) + 10) + "px";
}

const hideTip = () => { byId("tip").hidden = true; };

// Charts --------------------------------------------------------------------------------------

/** Draws a chart anew whenever its place has another width. */
function chart(place, paint) {
  let width = 0;
  const again = () => {
    if (width > 0) place.replaceChildren(paint(width));
  };
  new ResizeObserver(([entry]) => {
    const found = Math.round(entry.contentRect.width);
    if (found > 0 && found !== width) {
      width = found;
      again();
    }
  }).observe(place);
  return again;
}

/** Round numbers between two others. */
function ticks(min, max, most) {
  const range = max - min;
  if (!(range > 0)) return [min];
  const rough = range / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((factor) => factor * power).find((step) => step >= rough);
  const found = [];
  for (let at = Math.ceil(min / step); at * step <= max + step * 1e-9; at += 1) found.push(at * step);
  return found;
}

/** Where values of a vertical axis lie, from 0 at the bottom to 1; and which are labelled. */
function scale(values, logarithmic) {
  const positive = values.filter((value) => value > 0);
  const most = Math.max(...positive, Number.MIN_VALUE);
  if (!logarithmic || positive.length === 0) {
    return { at: (value) => value / most, ticks: ticks(0, most, 4) };
  }
  const least = Math.min(...positive);
  const low = Math.floor(Math.log10(least) - 1e-9);
  const high = Math.log10(most);
  const range = Math.max(high - low, 1);
  const every = Math.max(1, Math.ceil(range / 5));
  const labelled = [];
  for (let power = low; power <= high; power += every) labelled.push(10 ** power);
  return { at: (value) => (value > 0 ? Math.max(0, (Math.log10(value) - low) / range) : 0), ticks: labelled };
}

const LEFT = 58, RIGHT = 10, TOP = 12, BOTTOM = 30;

/**
 * The frame of a chart: axes with labels. Returns the drawing and where values lie in it.
 * `about` is what a screen reader says.
 */
function frame(width, height, x, y, about) {
  const [right, bottom] = [width - RIGHT, height - BOTTOM];
  const toX = (value) => LEFT + (value - x.min) / ((x.max - x.min) || 1) * (right - LEFT);
  const toY = (value) => bottom - y.at(value) * (bottom - TOP);
  const drawing = draw("svg", { role: "img", "aria-label": about, width, height, viewBox: `0 0 ${width} ${height}` });
  for (const tick of y.ticks) {
    drawing.append(
      draw("path", { class: "grid", d: `M${LEFT} ${toY(tick)}H${right}` }),
      draw("text", { x: LEFT - 8, y: toY(tick) + 4, "text-anchor": "end" }, y.label(tick)));
  }
  drawing.append(draw("path", { class: "axis", d: `M${LEFT} ${bottom}H${right}` }));
  for (const tick of ticks(x.min, x.max, Math.max(2, Math.floor(width / 110)))) {
    drawing.append(
      draw("path", { class: "axis", d: `M${toX(tick)} ${bottom}v4` }),
      draw("text", { x: toX(tick), y: bottom + 18, "text-anchor": "middle" }, x.label(tick)));
  }
  return { drawing, toX, toY, bottom, right };
}

/** A histogram: bars for what is stored, an outline for what it was made from. */
function histogram(width, data, logarithmic, about) {
  const { min, max, bins, before } = data;
  const y = { ...scale(bins.concat(before ?? []), logarithmic), label: short };
  const constant = !(max > min);
  const x = { min, max: constant ? min + 1 : max, label: (value) => number(value, 3) };
  const { drawing, toX, toY, bottom } = frame(width, Math.min(300, 180 + width / 6), x, y, about);
  const edge = (at) => toX(min + (x.max - min) * at / bins.length);
  const top = (value) => (value > 0 ? Math.min(toY(value), bottom - 1) : bottom);
  bins.forEach((value, at) => {
    const gap = edge(at + 1) - edge(at) > 4 ? 1 : 0;
    drawing.append(draw("rect", {
      class: "fill-after", x: edge(at), y: top(value),
      width: Math.max(0.5, edge(at + 1) - edge(at) - gap), height: bottom - top(value),
    }));
  });
  if (before) {
    const steps = before.map((value, at) => `V${top(value).toFixed(1)}H${edge(at + 1).toFixed(1)}`);
    drawing.append(draw("path", { class: "line-before", d: `M${edge(0)} ${bottom}${steps.join("")}V${bottom}` }));
  }
  return drawing;
}

/**
 * Divergences in ranges, a line for the noise floor where it is near. From zero they are bars; by
 * powers of ten, where there is no zero, marks at the means and lines up to the largest.
 */
function divergences(width, ranges, floor, logarithmic, about) {
  const values = ranges.flatMap((range) => [range.mean_kl, range.max_kl]);
  const y = { ...scale(values, logarithmic), label: logarithmic ? (value) => powers(value, 1) : error };
  const x = { min: ranges[0].first, max: ranges[ranges.length - 1].last + 1, label: count };
  const { drawing, toX, toY, bottom, right } = frame(width, 200, x, y, about);
  for (const range of ranges) {
    const size = Math.max(0.75, toX(range.last + 1) - toX(range.first) - (width / ranges.length > 3 ? 0.75 : 0));
    const [mean, max] = [toY(range.mean_kl), toY(range.max_kl)];
    const parts = logarithmic
      ? [["fill-max", max, mean], ["fill-after", mean - 1.5, mean + 1.5]]
      : [["fill-max", max, bottom], ["fill-after", mean, bottom]];
    for (const [kind, top, end] of parts) {
      drawing.append(draw("rect", { class: kind, x: toX(range.first), y: top, width: size, height: Math.max(0, end - top) }));
    }
  }
  if (y.at(floor) > 0) drawing.append(draw("path", { class: "line-floor", d: `M${LEFT} ${toY(floor)}H${right}` }));
  drawing.addEventListener("pointermove", (event) => {
    const { left } = drawing.getBoundingClientRect();
    const at = x.min + (event.clientX - left - LEFT) / (right - LEFT) * (x.max - x.min);
    const range = ranges.find((range) => range.first <= at && at < range.last + 1);
    if (range === undefined) return hideTip();
    tip({ x: event.clientX, y: event.clientY }, [
      range.first === range.last ? `token ${count(range.first)}` : `tokens ${count(range.first)} to ${count(range.last)}`,
      `mean ${number(range.mean_kl, 3)} nats`, `largest ${number(range.max_kl, 3)} nats`]);
  });
  drawing.addEventListener("pointerleave", hideTip);
  return drawing;
}
