// A packet from the inside: its path, what came in and what went out at each device, plain and sealed beside each other.

import { clear, make, ms } from "./dom.js";
import { documentView, octetsView } from "./documents.js";
import { get } from "./link.js";

export class Inspector {
  constructor(panel, { toEvent, toDecision }) {
    this.panel = panel;
    this.toEvent = toEvent;
    this.toDecision = toDecision;
    this.asked = 0;
    clear(panel, make("p", { class: "faint" }, "Choose an envelope in the picture, or an event of a packet in the list."));
  }

  async show(kind, number) {
    const asked = ++this.asked;
    try {
      const found = await get(`${kind}/${number}`);
      if (asked !== this.asked) return;
      clear(this.panel, kind === "packet" ? this.packet(found) : [make("h2", {}, found.title), documentView(found)]);
      this.panel.scrollTop = 0;
    } catch (error) {
      if (asked === this.asked) clear(this.panel, make("p", { class: "bad", role: "alert" }, error.message));
    }
  }

  tell(text) {
    this.asked += 1;
    clear(this.panel, make("h2", {}, "An event of the lab"), make("p", {}, text));
  }

  packet(found) {
    const { decision } = found;
    return [
      make("h2", {}, found.title),
      decision ? make("p", { class: decision.verdict === "encrypt" ? "good" : "bad" },
        `Row ${decision.row}, ${decision.name}: ${decision.verdict}. `,
        decision.vm ? make("button", { type: "button", class: "quiet", onclick: () => this.toDecision(decision.vm, decision.to) }, "Why?") : null) : null,
      found.plain || found.sealed ? make("details", { open: true }, make("summary", {}, "From the VM, and on the fabric"),
        make("div", { class: "beside" }, found.plain ? octetsView(found.plain, { open: false }) : null,
          found.sealed ? octetsView(found.sealed, { open: false }) : make("p", { class: "faint" }, "Nothing of it was on the fabric."))) : null,
      found.record ? make("details", { open: true }, make("summary", {}, "The record: nonce, additional data, and what is inside"), documentView(found.record)) : null,
      make("details", { open: true }, make("summary", {}, "Path"), make("ol", { class: "path" },
        found.lines.map((line) => make("li", {}, make("button", { type: "button", class: "quiet", onclick: () => this.toEvent(line.event) },
          make("span", { class: "t" }, ms(line.time)), ` ${line.host || "lab"}: ${line.what}`), make("small", {}, line.text))))),
      found.devices.length ? make("details", {}, make("summary", {}, "In and out of each card"), found.devices.map((device) => [
        make("h3", {}, device.name),
        device.dropped ? make("p", { class: "bad" }, `dropped: ${device.dropped}`) : null,
        make("div", { class: "beside" }, device.in ? octetsView(device.in, { open: false }) : null, device.out ? octetsView(device.out, { open: false }) : null),
      ]).flat()) : null,
    ].filter(Boolean);
  }
}
