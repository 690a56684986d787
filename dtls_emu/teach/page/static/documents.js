// Explanations, as the server makes them: blocks that say what is shown, drawn here.

import { draw, make } from "./dom.js";

const COLOURS = 6; // of layers, in turn
const MOST_BYTES = 320; // that are shown of one packet

export function documentView(document, level = 3) {
  return make("div", { class: "document" }, document.blocks.map((block) => blockView(block, level)));
}

function blockView(block, level) {
  switch (block.kind) {
    case "heading": return make(`h${level}`, {}, block.text);
    case "text": return make("p", {}, block.text);
    case "verdict": return make("p", { class: block.good ? "good" : "bad" }, `${block.good ? "✓" : "✗"} ${block.text}`);
    case "facts": return make("dl", { class: "facts" },
      Object.entries(block.facts).map(([name, value]) => [make("dt", {}, name), make("dd", {}, value)]).flat());
    case "table": return tableView(block.title, block.rows);
    case "octets": return octetsView(block);
    case "command": return make("details", { class: "command" },
      make("summary", {}, `See for yourself ${block.purpose}`), make("pre", { tabindex: 0 }, block.lines.join("\n")));
    case "ladder": return ladderView(block);
    default: return make("p", {}, JSON.stringify(block));
  }
}

export function tableView(title, rows, numbers = []) {
  if (!rows.length) return make("p", { class: "faint" }, `${title ? `${title}: ` : ""}nothing`);
  const names = Object.keys(rows[0]).filter((name) => name !== "marked");
  const cell = (name) => (numbers.includes(name) ? { class: "number" } : {});
  return make("div", { class: "scroll", tabindex: 0, role: "group", "aria-label": title || "Table" }, make("table", {},
    title ? make("caption", {}, title) : null,
    make("thead", {}, make("tr", {}, names.map((name) => make("th", { scope: "col", ...cell(name) }, name)))),
    make("tbody", {}, rows.map((row) => make("tr", { class: row.marked ? "marked" : null },
      names.map((name) => make("td", cell(name), String(row[name] ?? ""))))))));
}

const bytesOf = ({ start, stop }) => (stop - start > 1 ? `bytes ${start} to ${stop - 1}` : `byte ${start}`);

/** Bytes above, their fields below; what is under the pointer or has the focus lights up in both. */
export function octetsView(octets, { open = true } = {}) {
  const count = octets.data.length / 2;
  const fields = octets.layers.flatMap((layer, number) => layer.fields.map((field) => ({ ...field, layer: layer.name, colour: number % COLOURS })));
  const owners = Array.from({ length: Math.min(count, MOST_BYTES) }, () => []);
  fields.forEach((field, number) => {
    for (let at = field.start; at < Math.min(field.stop, owners.length); at += 1) owners[at].push(number);
  });
  const bytes = make("code", { class: "bytes", "aria-label": `${count} bytes in hexadecimal` }, owners.map((own, at) => {
    const colour = own.length ? `c${fields[own[0]].colour}` : "c-none";
    return make("b", { class: colour, "data-f": own.join(" ") }, octets.data.slice(2 * at, 2 * at + 2));
  }));
  if (count > MOST_BYTES) bytes.append(` … ${count - MOST_BYTES} more`);
  const readout = make("p", { class: "readout" }, make("span", { class: "faint" }, "Point at a byte to see what it is."));
  let number = -1;
  const list = octets.layers.map((layer, at) => make("section", { class: "layer" },
    make("p", { class: `name c${at % COLOURS}` }, layer.name, make("small", {}, layer.source)),
    make("ul", {}, layer.fields.map((field) => {
      number += 1;
      return make("li", { tabindex: 0, "data-f": number, title: bytesOf(field) },
        make("span", { class: `c${at % COLOURS}` }, field.name), make("span", {}, field.value),
        field.meaning ? make("small", {}, field.meaning) : null);
    }))));
  const figure = make("figure", { class: "octets" },
    make("figcaption", {}, `${octets.title} (${count} bytes)`), bytes, readout,
    make("details", { class: "fields", open }, make("summary", {}, "Fields"), list));
  const light = (event) => {
    const target = event.target.closest?.("[data-f]");
    const wanted = new Set((target?.dataset.f ?? "").split(" ").filter(Boolean));
    for (const each of figure.querySelectorAll("[data-f]")) {
      each.classList.toggle("lit", each.dataset.f.split(" ").some((one) => wanted.has(one)));
    }
    const lit = [...wanted].map((one) => fields[one]);
    if (lit.length) readout.replaceChildren(...lit.map((field) => make("span", {}, `${field.layer}, ${field.name}: ${field.value} (${bytesOf(field)})`)));
  };
  for (const name of ["pointerover", "focusin"]) figure.addEventListener(name, light);
  for (const name of ["pointerleave", "focusout"]) figure.addEventListener(name, () => light({ target: figure }));
  return figure;
}

function wrapped(text, most) {
  const lines = [""];
  for (const word of text.split(" ")) {
    if (lines.at(-1) && lines.at(-1).length + word.length >= most) lines.push("");
    lines[lines.length - 1] += (lines.at(-1) ? " " : "") + word;
  }
  return lines;
}

function ladderView({ left, right, messages }) {
  const [a, b, line] = [104, 470, 17];
  let y = 70;
  const rungs = messages.map((each) => {
    const forward = each.from === left;
    const [start, end] = forward ? [a, b] : [b, a];
    const stop = each.lost ? (start + end) / 2 : end;
    const tip = forward ? -9 : 9;
    const middle = (a + b) / 2;
    const details = wrapped(each.detail, 46);
    const rung = draw("g", { class: each.lost ? "rung lost" : "rung" },
      draw("text", { x: a - 8, y: y + 5, class: "time" }, `${(each.time * 1e3).toFixed(3)} ms`),
      draw("text", { x: middle, y: y - 8, class: "what" }, each.text),
      draw("line", { x1: start, x2: stop, y1: y, y2: y }),
      draw("path", { d: `M${stop} ${y}l${tip} -6v12z` }),
      details.map((text, number) => draw("text", { x: middle, y: y + 18 + line * number, class: "detail" }, text)));
    y += 44 + line * details.length;
    return rung;
  });
  return draw("svg", { class: "ladder", viewBox: `0 0 ${b + 50} ${y - 30}`, role: "img",
    "aria-label": `${messages.length} messages between ${left} and ${right}: ${messages.map((each) => `${each.from}: ${each.text}${each.lost ? ", lost" : ""}`).join("; ")}` },
  draw("text", { x: a, y: 22, class: "end" }, left), draw("text", { x: b, y: 22, class: "end" }, right),
  draw("line", { x1: a, x2: a, y1: 32, y2: y - 30, class: "post" }), draw("line", { x1: b, x2: b, y1: 32, y2: y - 30, class: "post" }),
  ...rungs);
}
