// Panels that show what a run came to so far: handshakes, decisions, flows, counters, attacks, the meter.

import { clear, make, ms, option } from "./dom.js";
import { documentView, tableView } from "./documents.js";
import { get, otherRun, post } from "./link.js";

const PROTOCOLS = { 1: "ICMP", 6: "TCP", 17: "UDP", 58: "ICMPv6" };

const trouble = (panel, error) => clear(panel, make("p", { class: "bad", role: "alert" }, error.message));

/** Tabs above panels: arrow keys go from one to the next. */
export class Tabs {
  constructor(list, panels, names, shown) {
    this.names = names;
    this.shown = shown; // called with the name of a panel that is opened
    this.panels = new Map();
    this.tabs = names.map((name) => make("button", {
      type: "button", role: "tab", id: `tab-${name}`, "aria-controls": `panel-${name}`, onclick: () => this.open(name),
    }, name[0].toUpperCase() + name.slice(1)));
    for (const name of names) {
      const panel = make("div", { role: "tabpanel", id: `panel-${name}`, "aria-labelledby": `tab-${name}`, tabindex: 0 });
      this.panels.set(name, panel);
    }
    list.append(...this.tabs);
    panels.append(...this.panels.values());
    list.addEventListener("keydown", (event) => {
      const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
      if (!step) return;
      event.stopPropagation();
      const next = (names.indexOf(this.name) + step + names.length) % names.length;
      this.open(names[next]);
      this.tabs[next].focus();
    });
    this.open(names[0]);
  }

  panel(name) { return this.panels.get(name); }

  open(name) {
    this.name = name;
    this.names.forEach((each, number) => {
      const isOpen = each === name;
      this.tabs[number].setAttribute("aria-selected", String(isOpen));
      this.tabs[number].setAttribute("tabindex", isOpen ? "0" : "-1");
      this.panels.get(each).hidden = !isOpen;
    });
    const tab = this.tabs[this.names.indexOf(name)];
    tab.parentElement.scrollLeft = tab.offsetLeft - tab.parentElement.offsetLeft - 40;
    this.shown(name);
  }
}

export class HandshakePanel {
  constructor(panel, about) {
    this.none = about.refusals.handshake ? `Not here: ${about.refusals.handshake}.` : "None yet: no tunnel was needed, or its keys come from a broker.";
    this.panel = panel;
    this.said = "";
    this.list = make("select", { id: "handshake", "aria-label": "Handshake", onchange: () => this.show(Number(this.list.value)) });
    this.body = make("div");
    clear(panel, make("h2", {}, "Handshakes"), make("label", {}, "Which ", this.list), this.body);
  }

  async refresh() {
    try {
      const found = await get("handshakes");
      const said = JSON.stringify(found);
      if (said === this.said) return;
      this.said = said;
      const chosen = Number(this.list.value) || 1;
      clear(this.list, found.map((each) => option(each.number, `${each.number}: ${each.client} with ${each.server}, ${ms(each.time)}${each.opened ? "" : ", came to nothing"}`, each.number === chosen)));
      if (found.length) await this.show(Math.min(chosen, found.length));
      else clear(this.body, make("p", { class: "faint" }, this.none));
    } catch (error) {
      trouble(this.body, error);
    }
  }

  async show(number) {
    try {
      const found = await get(`handshakes/${number}`);
      clear(this.body, documentView(found));
    } catch (error) {
      trouble(this.body, error);
    }
  }
}

export class DecisionPanel {
  constructor(panel, about) {
    this.about = about;
    const vms = Object.keys(about.settings.vms);
    this.from = make("select", { id: "decision-from" }, vms.map((name) => option(name)));
    this.to = make("input", { id: "decision-to", list: "decision-ends", autocomplete: "off", value: vms[1] ?? "" });
    this.ends = make("datalist", { id: "decision-ends" }, [...vms, "203.0.113.7"].map((name) => option(name)));
    this.body = make("div", { id: "decision-body" });
    this.form = make("form", { class: "row", onsubmit: (event) => { event.preventDefault(); this.refresh(); } },
      make("label", {}, "From ", this.from), make("label", {}, "to ", this.to), this.ends,
      make("button", { id: "decide" }, "Decide"));
    clear(panel, make("h2", {}, "Decision"), this.form, this.body);
    this.from.addEventListener("change", () => this.refresh());
  }

  ask(from, to) {
    this.from.value = from;
    this.to.value = to;
    return this.refresh();
  }

  async refresh() {
    if (!this.from.value || !this.to.value) return;
    try {
      const found = await get(`decision?from=${encodeURIComponent(this.from.value)}&to=${encodeURIComponent(this.to.value)}`);
      clear(this.body, documentView(found), make("p", { class: "faint" }, "Rows below the one that applies are not looked at. As the lab is set now."));
    } catch (error) {
      trouble(this.body, error);
    }
  }
}

export function showFlows(panel, state) {
  const ends = (flow) => {
    const [vni, protocol, source, sourcePort, destination, destinationPort, fragment] = flow;
    const port = (number) => (number ? `:${number}` : "");
    return `${PROTOCOLS[protocol] ?? protocol} ${source}${port(sourcePort)} → ${destination}${port(destinationPort)}${fragment ? ", fragments" : ""} (VNI ${vni})`;
  };
  const rows = [...state.flows.values()].map((each) => ({
    host: each.host, VM: each.vm || "-", flow: ends(each.flow), verdict: each.verdict || "-", row: each.row || "-", code: each.code || "-",
    out: each.out, in: each.in, dropped: each.dropped, since: each.over ? "over" : ms(each.since),
  }));
  clear(panel, make("h2", {}, "Flows"), tableView("", rows, ["row", "out", "in", "dropped", "since"]),
    make("p", { class: "faint" }, "Packets, up to this moment. A row and a verdict are the sender's card's: the other one only looks where a flow belongs."));
}

/** What real cards have counted, which is exact whatever is shown of their events. */
export function showStatus(panel, status) {
  const { hosts, silent } = status;
  const names = [...new Set(hosts.flatMap((each) => Object.keys(each.counters)))];
  const shown = hosts.slice(0, MOST_HOSTS);
  const rows = names.map((what) => ({
    what, ...Object.fromEntries(shown.map((each) => [each.host, each.counters[what] ?? 0])),
    together: hosts.reduce((sum, each) => sum + (each.counters[what] ?? 0), 0),
  })).filter((row) => row.together);
  clear(panel, make("h2", {}, "Counters"), ...silence(silent),
    tableView("", rows, [...shown.map((each) => each.host), "together"]),
    tableView("Tunnels", hosts.flatMap((each) => each.tunnels.map((tunnel) => ({
      host: each.host, peer: tunnel.peer, state: tunnel.state, handshakes: tunnel.handshakes, "last took": tunnel.handshakes ? ms(tunnel.last_handshake) : "-",
    }))), ["handshakes", "last took"]),
    make("p", { class: "faint" }, `Packets since each card was started, counted by the cards: exact, not sampled. Asked for every second.${hosts.length > MOST_HOSTS ? ` The first ${MOST_HOSTS} of ${hosts.length} hosts.` : ""}`));
}

const silence = (silent) => Object.entries(silent).map(([host, why]) => make("p", { class: "bad" }, `✗ ${host} does not answer: ${why}`));

/** What goes through real cards now. */
export function showRates(panel, status) {
  const { hosts, silent } = status;
  const speed = (bits) => (bits >= 1e9 ? `${(bits / 1e9).toFixed(2)} Gbit/s` : bits >= 1e6 ? `${(bits / 1e6).toFixed(2)} Mbit/s` : `${(bits / 1e3).toFixed(1)} kbit/s`);
  const bars = hosts.flatMap((each) => [["from VMs", "offered bytes"], ["to VMs", "delivered bytes"]].map(([word, key]) => [`${each.host}, ${word}`, (each.rates[key] ?? 0) * 8]));
  const most = Math.max(...bars.map(([, value]) => value), 1);
  const each = (rates, key) => Math.round(rates[key] ?? 0);
  clear(panel, make("h2", {}, "Meter"), ...silence(silent),
    bars.map(([name, value]) => make("p", { class: "bar" }, make("span", {}, name),
      make("meter", { min: 0, max: most, value, "aria-label": `${name}: ${speed(value)}` }), make("strong", {}, speed(value)))),
    tableView("Packets a second", hosts.map(({ host, rates }) => ({
      host, encrypted: each(rates, "encrypted"), "in clear": each(rates, "in clear"), delivered: each(rates, "delivered"), dropped: each(rates, "dropped"),
    })), ["encrypted", "in clear", "delivered", "dropped"]),
    tableView("Cards", hosts.map(({ host, backend, protects, path }) => ({ host, backend: protects ? backend : `${backend}, which protects nothing`, path }))),
    make("p", { class: "faint" }, "What the cards have counted within the last second, of whatever the VMs send. To compare encrypted with in clear there is dtls-emu bench."));
}

const MOST_HOSTS = 6; // that have a column of their own
const GOOD = new Set(["", "sealed", "handshake"]);

export function showCounters(panel, state) {
  const hosts = [...new Set([...state.counts.keys()].map((key) => key.split("\t")[0]))].sort();
  const found = new Map();
  for (const [key, count] of state.counts) {
    const [host, what, reason] = key.split("\t");
    const name = `${what}${reason ? `: ${reason}` : ""}`;
    const row = found.get(name) ?? { what: name, together: 0, reason };
    row[host] = count;
    row.together += count;
    found.set(name, row);
  }
  const rows = [...found.values()].sort((a, b) => GOOD.has(b.reason) - GOOD.has(a.reason));
  const shown = hosts.slice(0, MOST_HOSTS);
  clear(panel, make("h2", {}, "Counters"), tableView("", rows.map((row) => ({
    what: row.what, ...Object.fromEntries(shown.map((host) => [host, row[host] ?? 0])), together: row.together,
  })), [...shown, "together"]),
  make("p", { class: "faint" }, `Packets and datagrams up to this moment, by reason${hosts.length > MOST_HOSTS ? `; the first ${MOST_HOSTS} of ${hosts.length} hosts` : ""}.`));
}

export class AttackPanel {
  constructor(panel, about) {
    const list = make("select", { id: "attack" }, about.attacks.map((each) => option(each.name)));
    const summary = make("p");
    const body = make("div", { id: "attack-body", "aria-live": "polite" });
    const tell = () => { summary.textContent = about.attacks.find((each) => each.name === list.value)?.summary ?? ""; };
    const button = make("button", { id: "carry-out", type: "button", class: "main", onclick: async () => {
      button.disabled = true;
      clear(body, make("p", { class: "faint" }, "Under way, here and under other settings ..."));
      try {
        const { document, run } = await post("attack", { name: list.value });
        clear(body, make("p", {}, make("a", { href: otherRun(run), target: "_blank", rel: "noopener", class: "button" }, "Watch it in a page of its own")),
          make("h3", {}, document.title), documentView(document, 4));
      } catch (error) {
        trouble(body, error);
      }
      button.disabled = false;
    } }, "Carry it out");
    list.addEventListener("change", tell);
    tell();
    if (about.refusals.attack) {
      clear(panel, make("h2", {}, "Attacks"), make("p", { class: "faint" }, `Not here: ${about.refusals.attack}.`));
      return;
    }
    clear(panel, make("h2", {}, "Attacks"),
      make("p", { class: "faint" }, "Carried out on a copy of this lab, as it was written, with an attacker on its fabric."),
      make("div", { class: "row" }, make("label", {}, "Attack ", list), button), summary, body);
  }
}

export class MeterPanel {
  constructor(panel, about) {
    const body = make("div", { id: "meter-body", "aria-live": "polite" });
    const button = make("button", { id: "measure", type: "button", class: "main", onclick: async () => {
      button.disabled = true;
      clear(body, make("p", { class: "faint" }, "Measuring ..."));
      try {
        const { document } = await post("meter");
        const rows = document.blocks[0].rows;
        const most = Math.max(...rows.map((row) => Number(row["Gbit/s"])));
        const bars = rows.map((row) => {
          const bar = make("meter", { min: 0, max: most, value: row["Gbit/s"], "aria-label": `${row[""]}: ${row["Gbit/s"]} Gbit/s` });
          return make("p", { class: "bar" }, make("span", {}, row[""]), bar, make("strong", {}, `${row["Gbit/s"]} Gbit/s`));
        });
        clear(body, bars, documentView({ blocks: document.blocks.slice(1) }));
      } catch (error) {
        trouble(body, error);
      }
      button.disabled = false;
    } }, "Measure now");
    button.disabled = !about.meter;
    clear(panel, make("h2", {}, "Meter"),
      make("p", {}, "What encryption costs on this machine: in clear and encrypted in turn, through both cards in memory."),
      about.meter ? null : make("p", { class: "faint" }, "Not for a trace: serve a lab."), button, body);
  }
}
