// Elements, made without HTML text: whatever comes from a run is text and nothing else.

const SVG = "http://www.w3.org/2000/svg";

export const byId = (id) => document.getElementById(id);

function fill(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.flat().filter((each) => each !== null && each !== undefined));
  return element;
}

/** An element of HTML; attributes that begin with "on" are listeners. */
export const make = (name, attributes = {}, ...children) =>
  fill(document.createElement(name), attributes, children);

/** An element of SVG. */
export const draw = (name, attributes = {}, ...children) =>
  fill(document.createElementNS(SVG, name), attributes, children);

export const clear = (element, ...children) => element.replaceChildren(...children.flat().filter(Boolean));

/** Seconds as people read them on this page. */
export function ms(seconds) {
  return seconds < 10 ? `${(seconds * 1e3).toFixed(3)} ms` : `${seconds.toFixed(3)} s`;
}

export function option(value, text = value, selected = false) {
  return make("option", { value, selected }, text);
}
