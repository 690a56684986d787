// The picture: hosts, cards, VMs and links stand where the server has put them; envelopes move between them.

import { Crowd } from "./crowd.js";
import { byId, clear, draw } from "./dom.js";

const INTERNET = "";
const MOST_AT_A_PLACE = 4; // envelopes drawn at one place; how many there are is written beside them
const LINGER = 0.9; // seconds on the screen that what has come to its end can still be seen
const CROWD = 60; // envelopes from which on they are a crowd: not numbered, and all on one canvas
const SLOW = 120; // milliseconds
const EASE = 14; // how fast an envelope follows its place, per second

const WORDS = {
  idle: "no tunnel", handshaking: "handshake", up: "DTLS", rekeying: "rekeying", "backing-off": "failed, waits",
  closing: "closing", closed: "closed",
};

function envelope(id, body, ...marks) {
  return draw("symbol", { id, viewBox: "0 0 34 26" },
    draw("rect", { x: 1, y: 1, width: 32, height: 24, rx: 3, class: `paper ${body}` }), ...marks);
}

function symbols() {
  const flap = (lifted) => draw("path", { d: lifted ? "M2 3L17 1L32 3M2 24L14 12M32 24L20 12" : "M2 3L17 15L32 3", class: "flap" });
  const letter = draw("path", { d: "M7 6H27M7 10H27M7 14H20", class: "letter" });
  const lock = draw("g", { class: "lock" },
    draw("path", { d: "M13 14V11a4 4 0 0 1 8 0v3", class: "shackle" }),
    draw("rect", { x: 11, y: 13, width: 12, height: 9, rx: 1.5 }));
  const shake = draw("path", { d: "M9 13h16M20 8l5 5-5 5M14 8l-5 5 5 5", class: "letter" });
  const cross = draw("path", { d: "M11 7L23 19M23 7L11 19", class: "cross" });
  const open = draw("path", { d: "M11 18v-4a5 5 0 0 1 10 0", class: "letter" });
  return draw("defs", {},
    envelope("envelope-clear", "clear", letter),
    envelope("envelope-sealed", "sealed", flap(false), lock),
    envelope("envelope-unprotected", "clear", flap(false), open),
    envelope("envelope-handshake", "handshake", shake),
    envelope("envelope-dropped", "dropped", cross));
}

const between = (a, b, f) => a + (b - a) * f;

function onCurve(link, f, forward) {
  const at = forward ? f : 1 - f;
  return [0, 1].map((axis) =>
    between(between(link.from[axis], link.by[axis], at), between(link.by[axis], link.to[axis], at), at));
}

export class Scene {
  constructor(about, chosen) {
    this.svg = byId("scene");
    this.about = about;
    this.chosen = chosen; // called with ("packet" | "host" | "vm" | "link", name)
    this.nodes = new Map();
    this.still = matchMedia("(prefers-reduced-motion: reduce)");
    this.shape = "";
    this.crowd = new Crowd(this.svg);
    this.lay();
    new ResizeObserver(() => {
      this.lay();
      this.crowd.fit();
      if (this.last) this.show(...this.last);
    }).observe(byId("stage"));
    this.svg.addEventListener("click", (event) => {
      const entry = this.crowded && this.crowd.find(event.clientX, event.clientY);
      if (!entry) return;
      event.stopPropagation();
      this.lookInto(entry);
    }, true);
  }

  /** Take the arrangement that suits the room; true if it is another one. */
  lay() {
    const { clientWidth, clientHeight } = byId("stage");
    const ratio = clientWidth / Math.max(clientHeight, 1);
    const fit = (scene) => Math.min(clientWidth / scene.width, Math.max(clientHeight, 200) / scene.height);
    const { wide, tall } = this.about.scenes;
    const shape = ratio > 1.1 || fit(wide) >= fit(tall) ? "wide" : "tall";
    if (shape === this.shape) return false;
    this.shape = shape;
    this.scene = this.about.scenes[shape];
    this.build();
    return true;
  }

  build() {
    const scene = this.scene;
    this.svg.setAttribute("viewBox", `0 0 ${scene.width} ${scene.height}`);
    this.hosts = new Map(scene.hosts.map((host) => [host.name, host]));
    this.vms = new Map(scene.hosts.flatMap((host) => host.vms.map((vm) => [vm.name, vm])));
    this.links = new Map();
    this.lines = new Map();
    for (const link of scene.links) {
      this.links.set(link.ends.join(">"), { link, forward: true });
      this.links.set(link.ends.toReversed().join(">"), { link, forward: false });
    }
    const names = scene.hosts.map((host) => host.name).filter((name) => name !== INTERNET);
    this.common = Math.max((names[0] ?? "").length - 1, 0); // of many names, what they begin with together is left out
    while (this.common && !names.every((name) => name.startsWith(names[0].slice(0, this.common)))) this.common -= 1;
    this.svg.classList.toggle("many", scene.small);
    this.linkLayer = draw("g", { class: "links" });
    this.envelopes = draw("g", { class: "envelopes" });
    this.nodes.clear();
    clear(this.svg, symbols(), this.linkLayer, ...scene.hosts.map((host) => this.host(host)), this.envelopes);
    this.badges = [...this.svg.querySelectorAll("[data-waiting]")].map((text) => [text.getAttribute("data-waiting"), text]);
    this.few = scene.hosts.length <= 12;
    if (this.few) for (const link of scene.links) this.line(link);
  }

  button(element, kind, name, label) {
    const choose = () => this.chosen(kind, name);
    element.setAttribute("tabindex", "0");
    element.setAttribute("role", "button");
    element.setAttribute("aria-label", label);
    element.addEventListener("click", choose);
    element.addEventListener("keydown", (event) => {
      if (event.key !== "Enter" && event.key !== " ") return;
      event.preventDefault();
      event.stopPropagation();
      choose();
    });
    return element;
  }

  host(host) {
    const rect = (box, name) => draw("rect", { ...box, x: box.x, y: box.y, rx: 6, class: name });
    const box = ({ x, y, width, height }) => ({ x, y, width, height });
    const inside = host.vms.map((vm) => {
      const text = this.short(vm.name, vm.width);
      return this.button(draw("g", { class: "vm", "data-vm": vm.name }, draw("title", {}, this.vmTitle(vm.name)),
        rect(box(vm), "vm-box"),
        draw("text", { x: vm.x + vm.width / 2, y: vm.y + vm.height / 2, class: vm.width < 80 ? "small" : "" }, text)),
      "vm", vm.name, `VM ${vm.name}`);
    });
    const card = host.card;
    const upright = card.height > card.width;
    const [cx, cy] = [card.x + card.width / 2, card.y + card.height / 2];
    const bottom = card.y + card.height - 26;
    const name = host.name === INTERNET ? "internet" : this.scene.small ? host.name.slice(this.common) : this.short(host.name, host.width - (upright ? card.width : 0) - 16);
    const group = draw("g", { class: host.name === INTERNET ? "host internet" : "host" },
      draw("title", {}, host.name || "internet"), rect(box(host), "host-box"),
      draw("text", { x: host.title[0], y: host.title[1], class: "host-name" }, name),
      ...inside);
    if (host.name !== INTERNET) {
      group.append(this.button(draw("g", { class: "card", "data-card": host.name },
        rect(box(card), "card-box"),
        draw("text", upright
          ? { x: cx, y: bottom, class: "card-name", transform: `rotate(-90 ${cx} ${bottom})` }
          : { x: card.x + 34, y: cy, class: "card-name" }, "card"),
        draw("text", { x: cx, y: upright ? card.y + card.height + 16 : cy, class: "waiting", "data-waiting": host.name })),
      "host", host.name, `Card of ${host.name}`));
    }
    return group;
  }

  short(name, width) {
    const most = Math.floor(width / (width < 80 ? 8 : 9.4));
    return name.length > most ? `${name.slice(0, most - 1)}…` : name;
  }

  vmTitle(name) {
    const vm = this.about.settings.vms[name];
    return vm ? `${name}: ${vm.addresses.join(", ")}, ${vm.network}, ${vm.size}` : name;
  }

  line(link) {
    const key = link.ends.join(">");
    if (this.lines.has(key) || link.ends.includes(INTERNET)) return this.lines.get(key);
    const d = `M${link.from}Q${link.by} ${link.to}`;
    const path = draw("path", { d, class: "link" });
    if (!this.few) return this.thread(key, link, path);
    const [x, y] = onCurve(link, 0.5, true);
    const beside = link.from[0] === link.to[0]; // along one side: the words stand in the field, not over the hosts
    const right = link.by[0] > link.from[0];
    const label = draw("text", { x: beside ? x + (right ? 26 : -26) : x, y: beside ? y : y - 46, class: `link-label ${beside ? (right ? "starts" : "ends") : ""}` });
    const more = draw("text", { x, y: y + 30, class: "link-label faint" });
    const title = draw("title", {}, link.ends.join(" and "));
    const group = this.button(draw("g", { class: "tunnel idle", "data-link": link.ends.join("-") }, title,
      draw("path", { d, class: "touch" }), path, label, more), "link", link.ends, `Link of ${link.ends.join(" and ")}`);
    this.linkLayer.append(group);
    const line = { group, label, more, title, beside, said: "" };
    this.lines.set(key, line);
    return line;
  }

  /** One line of very many: without words, and no stop on the way of the keyboard. */
  thread(key, link, path) {
    const title = draw("title", {}, link.ends.join(" and "));
    const group = draw("g", { class: "tunnel idle", "data-link": link.ends.join("-") }, title, path);
    group.addEventListener("click", () => this.chosen("link", link.ends));
    this.linkLayer.append(group);
    const line = { group, title, said: "" };
    this.lines.set(key, line);
    return line;
  }

  /** Show a state of the lab at a time; speed says how long a second of the screen is. */
  show(state, time, speed, passed = 1) { // passed: seconds since the last drawing; 1 draws everything
    this.last = [state, time, speed];
    const wanted = new Map();
    const crowd = new Map();
    const place = (x, y, at) => {
      const number = crowd.get(at) ?? 0;
      crowd.set(at, number + 1);
      return number < MOST_AT_A_PLACE ? [x + number * 9, y - number * 7] : null;
    };
    const centre = (box) => [box.x + box.width / 2, box.y + box.height / 2];
    const where = (entry) => {
      if (entry.place === "internet") return centre(this.hosts.get(INTERNET) ?? this.hosts.get(entry.host));
      const box = entry.place === "vm" && this.vms.get(entry.vm);
      // Beside the VM's name, not over it.
      return box ? [box.x + box.width - 10, box.y + 4] : centre(this.hosts.get(entry.host).card);
    };
    for (const [key, entry] of state.packets) {
      if (!this.hosts.has(entry.host)) continue;
      const at = place(...where(entry), `${entry.host} ${entry.place} ${entry.vm ?? ""}`);
      if (at) wanted.set(`p${key}`, { at, entry, from: entry.came ? this.hosts.get(entry.host).port : null });
    }
    for (const [key, flight] of state.flights) {
      const link = this.links.get(`${flight.from}>${flight.to}`);
      if (!link || flight.stop === null || (flight.passing && flight.stop < time)) continue;
      const f = Math.max(0, Math.min(1, (time - flight.start) / Math.max(flight.stop - flight.start, 1e-9)));
      wanted.set(`d${key}`, { at: onCurve(link.link, f, link.forward), entry: flight, exact: true });
      if (flight.twice) wanted.set(`t${key}`, { at: onCurve(link.link, Math.max(0, f - 0.06), link.forward), entry: flight, exact: true });
    }
    // The newest first: of several that were dropped at one place, only it says why.
    state.ended.toReversed().forEach((entry, back) => {
      const number = state.ended.length - 1 - back;
      const isLast = number === state.ended.length - 1 && entry.event === state.at - 1;
      if (!isLast && (time - entry.time > LINGER * speed || state.at - entry.event > 24)) return;
      const link = entry.place === "link" && this.links.get(`${entry.from}>${entry.to}`);
      if (entry.place !== "link" && !this.hosts.has(entry.host)) return;
      const at = link ? onCurve(link.link, 0.5, link.forward) : entry.place === "link" ? null : where(entry);
      if (at) {
        const spot = `e${entry.host}${entry.place}${entry.place === "vm" ? entry.vm : ""}`;
        const spread = place(...at, spot);
        const isFirst = crowd.get(spot) === 1;
        if (spread) wanted.set(`e${entry.event}`, { at: spread, entry, quiet: !isFirst, falls: Boolean(entry.why), from: entry.why ? null : centre(this.hosts.get(entry.host)?.card ?? this.scene.hosts[0]) });
      }
    });
    this.crowded = wanted.size > CROWD;
    this.move(wanted, passed);
    // While time goes on, what changes slowly is drawn less often.
    const moment = performance.now();
    if (passed < 1 && moment - (this.slow ?? 0) < SLOW && state.at >= (this.at ?? 0)) return;
    this.slow = moment;
    this.at = state.at;
    this.tunnels(state);
    this.waiting(state);
  }

  move(wanted, passed) {
    const ease = this.still.matches ? 1 : Math.min(1, passed * EASE);
    this.moving = false;
    for (const [key, node] of this.nodes) {
      if (!wanted.has(key)) {
        node.group.remove();
        this.nodes.delete(key);
      }
    }
    const many = [];
    for (const [key, { at, entry, exact, falls, from, quiet }] of wanted) {
      let node = this.nodes.get(key);
      if (this.crowded && !falls) {
        many.push({ at, entry, shape: entry.shape });
        if (node) {
          node.group.remove();
          this.nodes.delete(key);
        }
        continue;
      }
      if (!node) {
        node = this.envelope(entry, falls);
        [node.x, node.y] = from ?? at;
        this.nodes.set(key, node);
        this.envelopes.append(node.group);
      }
      if (exact) [node.x, node.y] = at;
      else {
        node.x += (at[0] - node.x) * ease;
        node.y += (at[1] - node.y) * ease;
        if (Math.abs(at[0] - node.x) + Math.abs(at[1] - node.y) > 0.6) this.moving = true;
      }
      node.group.setAttribute("transform", `translate(${node.x.toFixed(1)} ${node.y.toFixed(1)})`);
      this.look(node, entry, falls, quiet);
    }
    if (many.length || this.crowd.shown.length) this.crowd.draw(many);
    this.svg.classList.toggle("crowded", this.crowded);
  }

  lookInto(entry) {
    if (entry.packet || entry.datagram) this.chosen(entry.packet ? "packet" : "datagram", entry.packet || entry.datagram);
  }

  envelope(entry, falls) {
    const use = draw("use", { x: -17, y: -13, width: 34, height: 26 });
    const text = draw("text", { y: falls ? 30 : -18, class: falls ? "why" : "number" });
    const inner = draw("g", { class: falls ? "falls" : "" }, use, text);
    const group = draw("g", { class: "envelope" }, inner);
    group.addEventListener("click", () => this.lookInto(entry));
    return { group, use, text, shape: "", said: null };
  }

  look(node, entry, falls, quiet) {
    const shape = falls ? "dropped" : entry.shape;
    if (node.shape !== shape) {
      node.shape = shape;
      node.use.setAttribute("href", `#envelope-${shape}`);
      node.group.setAttribute("data-shape", shape);
    }
    const count = entry.count > 1 ? ` ×${entry.count}` : "";
    const said = this.crowded || quiet ? "" : falls ? entry.why : entry.packet ? `${entry.packet}${count}${entry.damaged ? " damaged" : ""}` : "";
    if (node.said !== said) node.text.textContent = node.said = said;
  }

  tunnels(state) {
    for (const [key] of state.tunnels) {
      const found = this.links.get(key);
      if (found) this.line(found.link);
    }
    for (const flight of state.flights.values()) {
      const found = this.links.get(`${flight.from}>${flight.to}`);
      if (found) this.line(found.link);
    }
    for (const [key, line] of this.lines) {
      line.other ??= key.split(">").toReversed().join(">");
      const ends = [state.tunnels.get(key), state.tunnels.get(line.other)];
      if (line.ends && line.ends[0] === ends[0] && line.ends[1] === ends[1]) continue;
      line.ends = ends;
      const [a, b] = key.split(">");
      const rank = ["up", "rekeying", "handshaking", "backing-off", "closing", "closed", "idle"];
      const states = ends.map((end) => end?.state ?? "idle");
      const now = ["rekeying", "handshaking", "backing-off", "closing"].find((each) => states.includes(each))
        ?? rank.find((each) => states.includes(each));
      const end = ends.find((each) => each?.epoch !== null && each?.epoch !== undefined) ?? ends.find(Boolean);
      const keys = Math.max(...ends.map((each) => each?.keys ?? 0));
      const what = now === "up" ? `DTLS up${end?.epoch ? `, epoch ${end.epoch}` : ""}` : WORDS[now];
      const force = ends[0]?.force ?? ends[1]?.force;
      const more = keys ? `keys ${keys}${keys > 1 ? " (rekeyed)" : ""}${force ? `, ports ${force.join(" and ")}` : ""}` : "";
      const said = `${what}\n${more}`;
      if (line.said === said) continue;
      line.said = said;
      line.group.setAttribute("class", `tunnel ${now}`);
      line.title.textContent = `${a} and ${b}: ${what}; ${more}`;
      if (!line.label) continue;
      line.group.setAttribute("aria-label", `Link of ${a} and ${b}: ${what}. ${more}`);
      const room = this.scene.hosts.length <= 4;
      line.label.textContent = room && now !== "idle" ? what : "";
      line.more.textContent = this.scene.hosts.length <= 3 && !line.beside ? more : "";
    }
  }

  waiting(state) {
    const found = new Map();
    for (const entry of state.packets.values()) {
      if (entry.waiting) found.set(entry.host, (found.get(entry.host) ?? 0) + entry.count);
    }
    for (const [host, text] of this.badges) {
      const count = found.get(host);
      const said = count ? `${count} wait` : "";
      if (text.textContent !== said) text.textContent = said;
    }
  }
}
