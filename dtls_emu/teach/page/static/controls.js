// What can be done to a lab that runs: each button says afterwards what has come of it, and its effect is in the events.

import { clear, make, option } from "./dom.js";
import { post } from "./link.js";

export class Controls {
  constructor(panel, about, { done }) {
    this.about = about;
    this.done = done; // called when something was done, so that time goes on from there
    this.status = make("p", { id: "done", role: "status" });
    if (!about.live) {
      clear(panel, make("h2", {}, "Controls"), make("p", { class: "faint" }, "This is a recorded run: nothing can be changed in it. Serve a lab to play with it."));
      return;
    }
    const { refusals } = about;
    const { vms, networks } = about.settings;
    const names = Object.keys(vms);
    const other = names.find((name) => vms[name].host !== vms[names[0]]?.host && vms[name].network === vms[names[0]]?.network) ?? names[1];
    this.from = make("select", { id: "from" }, names.map((name) => option(name)));
    this.to = make("select", { id: "to" }, names.map((name) => option(name, name, name === other)));
    this.count = make("input", { id: "count", type: "number", min: 1, max: about.most_packets, value: 8 });
    this.network = make("select", { id: "network" }, Object.keys(networks).map((name) => option(name)));
    this.encrypted = make("input", { id: "encrypted", type: "checkbox" });
    this.enforcement = make("select", { id: "enforcement" }, about.enforcements.map((name) => option(name)));
    this.vm = make("select", { id: "vm" }, names.map((name) => option(name)));
    this.size = make("select", { id: "size" });
    this.accelerated = make("input", { id: "accelerated", type: "checkbox" });
    const hosts = about.scenes.wide.hosts.map((host) => host.name).filter(Boolean);
    this.a = make("select", { id: "link-a" }, hosts.map((name) => option(name)));
    this.b = make("select", { id: "link-b" }, hosts.map((name) => option(name, name, name === hosts[1])));
    this.loss = make("input", { id: "loss", type: "number", min: 0, max: 100, step: "any" });
    this.delay = make("input", { id: "delay", type: "number", min: 0, step: "any" });
    this.mtu = make("input", { id: "mtu", type: "number", min: 576, max: 65535 });
    this.card = make("select", { id: "card" }, hosts.map((name) => option(name)));
    this.backend = make("select", { id: "backend" });

    const words = { ping: "Ping", stream: "Stream", fragment: "Fragment", jumbo: "Jumbo", replay: "Replay the last record", tamper: "Tamper with the last record" };
    const send = (what) => make("button", { type: "button", id: `send-${what}`, onclick: () => this.send(what) }, words[what]);
    const set = (legend, id, act, ...parts) => make("fieldset", {}, make("legend", {}, legend), ...parts,
      act ? make("button", { type: "button", id, "aria-label": `Set: ${legend}`, onclick: act }, "Set") : null);
    const unless = (what, fieldset) => {
      if (!refusals[what]) return fieldset;
      fieldset.disabled = true;
      fieldset.setAttribute("aria-describedby", `why-${what}`);
      fieldset.append(make("p", { class: "faint", id: `why-${what}` }, `Not here: ${refusals[what]}.`));
      return fieldset;
    };
    clear(panel, make("h2", {}, "Controls"), this.status,
      unless("send", set("A VM sends", "", null, make("div", { class: "row" }, make("label", {}, "From ", this.from), make("label", {}, "to ", this.to), make("label", {}, "packets of a stream ", this.count)),
        make("div", { class: "row" }, ["ping", "stream", "fragment", "jumbo"].map(send)))),
      unless("fabric", set("Somebody on the fabric", "", null, make("div", { class: "row" }, ["replay", "tamper"].map(send)))),
      set("Network", "set-network", () => this.setNetwork(), make("label", {}, "Network ", this.network), make("label", {}, this.encrypted, " encrypted"), make("label", {}, "enforcement ", this.enforcement)),
      set("VM", "set-vm", () => this.setVm(), make("label", {}, "VM ", this.vm), make("label", {}, "size ", this.size), make("label", {}, this.accelerated, " accelerated networking")),
      set("Link", "set-link", () => this.setLink(), make("label", {}, "Between ", this.a), make("label", {}, "and ", this.b),
        make("label", {}, "loss, % ", this.loss), make("label", {}, "delay, µs ", this.delay), make("label", {}, "MTU, bytes ", this.mtu)),
      set("Tunnel of the two hosts above", "", null, make("button", { type: "button", id: "rekey", onclick: () => this.rekey() }, "Rekey")),
      set("Card", "", null, make("label", {}, "Card of ", this.card), make("label", {}, "backend ", this.backend),
        make("button", { type: "button", id: "restart", onclick: () => this.restart() }, "Restart"),
        refusals.backend ? make("p", { class: "faint", id: "why-backend" }, `Not another backend here: ${refusals.backend}.`) : null),
      make("p", { class: "faint" }, about.kind === "run" ? "What is set is set on the real cards, at once." : "What is set holds from the end of what has happened on; the picture goes there."));
    this.backend.disabled = Boolean(refusals.backend);
    if (refusals.backend) this.backend.setAttribute("aria-describedby", "why-backend");
    this.network.addEventListener("change", () => this.fill());
    this.vm.addEventListener("change", () => this.fill());
    this.card.addEventListener("change", () => this.fill());
    for (const end of [this.a, this.b]) end.addEventListener("change", () => this.fill());
    this.fill();
  }

  /** The settings as they are. */
  fill() {
    const { networks, vms, links, hosts } = this.about.settings;
    const network = networks[this.network.value];
    if (network) {
      this.encrypted.checked = network.encrypted;
      this.enforcement.value = network.enforcement;
    }
    const vm = vms[this.vm.value];
    if (vm) {
      const sizes = [...new Set([vm.size, ...this.about.sizes])];
      clear(this.size, sizes.map((name) => option(name, name, name === vm.size)));
      this.accelerated.checked = vm.accelerated;
    }
    const link = links[`${this.a.value}-${this.b.value}`] ?? links[`${this.b.value}-${this.a.value}`];
    this.loss.value = link ? Number((link.loss * 100).toPrecision(6)) : "";
    this.delay.value = link ? Number((link.delay * 1e6).toPrecision(6)) : "";
    this.mtu.value = link ? link.mtu : "";
    const backend = hosts[this.card.value]?.backend;
    clear(this.backend, this.about.backends.map(({ name, missing }) =>
      make("option", { value: name, selected: name === backend, disabled: Boolean(missing), title: missing || null }, missing ? `${name} (not here)` : name)));
  }

  choose(kind, name) {
    if (!this.about.live) return;
    if (kind === "vm") {
      this.vm.value = name;
      this.from.value = name;
    } else if (kind === "link") {
      [this.a.value, this.b.value] = name;
    } else if (kind === "host") this.a.value = this.card.value = name;
    this.fill();
  }

  async act(path, body, said) {
    this.status.className = "faint";
    this.status.textContent = "Under way …";
    try {
      const found = await post(path, body);
      if (found.settings) {
        this.about.settings = found.settings;
        this.fill();
      }
      this.status.className = "good";
      this.status.textContent = `✓ ${found.said ?? said}`;
      await this.done(found);
    } catch (error) {
      this.status.className = "bad";
      this.status.textContent = `✗ ${error.message}`;
    }
  }

  send(what) {
    return this.act("send", { what, from: this.from.value, to: this.to.value, count: Number(this.count.value) || 1 });
  }

  setNetwork() {
    const words = [`encryption.enabled=${this.encrypted.checked}`, `encryption.enforcement=${this.enforcement.value}`];
    return this.act("set", { target: `virtual_networks.${this.network.value}`, words }, `network ${this.network.value}: ${words.join(", ")}`);
  }

  setVm() {
    const words = [`size=${this.size.value}`, `accelerated_networking=${this.accelerated.checked}`];
    return this.act("set", { target: `vms.${this.vm.value}`, words }, `VM ${this.vm.value}: ${words.join(", ")}`);
  }

  setLink() {
    const words = [];
    if (this.loss.value !== "") words.push(`loss=${this.loss.value}%`);
    if (this.delay.value !== "") words.push(`delay=${this.delay.value}us`);
    if (this.mtu.value !== "") words.push(`mtu=${this.mtu.value}`);
    return this.act("set", { target: `${this.a.value}-${this.b.value}`, words }, `link of ${this.a.value} and ${this.b.value}: ${words.join(", ")}`);
  }

  restart() {
    const { value: host } = this.card;
    return this.act("restart", { host, backend: this.backend.value }, `the card of ${host} has started anew, with backend ${this.backend.value}`);
  }

  rekey() {
    return this.act("rekey", { host: this.a.value, peer: this.b.value }, `${this.a.value} makes fresh keys with ${this.b.value}`);
  }
}
