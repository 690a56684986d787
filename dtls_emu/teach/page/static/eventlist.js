// The list of events: all of them, of which only those in sight are in the page.

import { byId, clear, make, option } from "./dom.js";

const HEIGHT = 30; // of a row, in pixels; style.css has the same

export class EventList {
  constructor(history, chosen) {
    this.history = history;
    this.chosen = chosen; // called with (index, look inside)
    this.box = byId("list");
    this.space = make("div", { class: "space", role: "presentation" });
    this.box.append(this.space);
    this.shown = null; // numbers of the rows that pass the filters; null: all
    this.seen = 0;
    this.place = -1;
    this.flows = new Map();
    this.fields = ["host", "kind", "packet", "text"].map((name) => byId(`filter-${name}`));
    for (const field of this.fields) field.addEventListener("input", () => this.filter());
    byId("filters").addEventListener("submit", (event) => event.preventDefault());
    this.box.addEventListener("scroll", () => this.draw());
    this.box.addEventListener("click", (event) => {
      const row = event.target.closest("[data-event]");
      if (row) this.chosen(Number(row.dataset.event), true);
    });
    this.box.addEventListener("keydown", (event) => this.key(event));
    new ResizeObserver(() => this.draw()).observe(this.box);
  }

  fill(hosts, kinds) {
    this.fields[0].append(...hosts.map((name) => option(name)));
    this.fields[1].append(...kinds.map((name) => option(name, name.replaceAll("_", " "))));
  }

  set(values) {
    this.fields.forEach((field, number) => { field.value = values[number] ?? ""; });
    this.filter();
  }

  get count() { return this.shown ? this.shown.length : this.history.rows.length; }
  row(number) { return this.shown ? this.shown[number] : number; }

  passes(row) {
    const [host, kind, packet, text] = this.wanted;
    if (row[3] && row[1] === "classified") this.flows.set(row[3], row[6].toLowerCase());
    if (host && row[2] !== host) return false;
    if (kind && row[1] !== kind) return false;
    if (packet && !(row[3] && row[3] <= packet && packet < row[3] + Math.max(row[4], 1))) return false;
    if (text && !`${row[2]} ${row[5]} ${row[6]}`.toLowerCase().includes(text)) {
      return Boolean(row[3]) && (this.flows.get(row[3]) ?? "").includes(text);
    }
    return true;
  }

  filter() {
    const [host, kind, packet, text] = this.fields.map((field) => field.value.trim());
    this.wanted = [host, kind, Number(packet) || 0, text.toLowerCase()];
    this.flows.clear();
    this.shown = this.wanted.some(Boolean) ? [] : null;
    this.seen = 0;
    this.grow();
    this.reveal(this.place, true);
  }

  /** Take in what has happened since. */
  grow() {
    if (this.shown) {
      for (; this.seen < this.history.rows.length; this.seen += 1) {
        if (this.passes(this.history.rows[this.seen])) this.shown.push(this.seen);
      }
    }
    this.space.style.height = `${this.count * HEIGHT}px`;
    const leftOut = this.history.leftOut ? `, ${this.history.leftOut} left out` : "";
    byId("filter-count").textContent = (this.shown ? `${this.count} of ${this.history.rows.length}` : `${this.count} events`) + leftOut;
    this.draw();
  }

  /** The row number of an event, or of the last one before it that is shown. */
  find(event) {
    if (!this.shown) return event;
    let low = 0;
    let high = this.shown.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.shown[middle] <= event) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }

  reveal(event, again = false) {
    if (event === this.place && !again) return;
    this.place = event;
    const top = this.find(event) * HEIGHT;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop || top > scrollTop + clientHeight - 2 * HEIGHT) {
      this.box.scrollTop = Math.max(0, top - clientHeight / 2);
    }
    this.draw();
  }

  draw() {
    const first = Math.max(0, Math.floor(this.box.scrollTop / HEIGHT) - 4);
    const last = Math.min(this.count, first + Math.ceil(this.box.clientHeight / HEIGHT) + 8);
    const now = this.find(this.place);
    const rows = [];
    for (let number = first; number < last; number += 1) {
      const event = this.row(number);
      const row = this.history.rows[event];
      const isNow = number === now;
      const item = make("div", {
        role: "option", id: `event-${event}`, class: `event k-${row[1]}${isNow ? " now" : ""}${event > this.place ? " later" : ""}`,
        "data-event": event, "aria-selected": String(isNow), "aria-posinset": number + 1, "aria-setsize": this.count,
      },
      make("span", { class: "t" }, row[0] < 10 ? (row[0] * 1e3).toFixed(3) : `${row[0].toFixed(3)} s`), make("span", { class: "h" }, row[2] || "lab"),
      make("span", { class: "n" }, row[3] || ""), make("span", { class: "w" }, row[5]), make("span", { class: "x" }, row[6]));
      item.style.top = `${number * HEIGHT}px`;
      rows.push(item);
    }
    clear(this.space, rows);
    if (now >= 0) this.box.setAttribute("aria-activedescendant", `event-${this.row(now)}`);
  }

  key(event) {
    const steps = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 };
    if (event.key === "Enter" && this.place >= 0) this.chosen(this.place, true);
    else if (event.key in steps) {
      const number = Math.max(0, Math.min(this.count - 1, this.find(this.place) + steps[event.key]));
      if (this.count) this.chosen(this.row(number), false);
    } else return;
    event.preventDefault();
    event.stopPropagation();
  }
}
