// The page: what is asked of the server, what is shown, and which key does what.

import { Controls } from "./controls.js";
import { byId, make, ms, option } from "./dom.js";
import { EventList } from "./eventlist.js";
import { Inspector } from "./inspector.js";
import { follow, get } from "./link.js";
import { AttackPanel, DecisionPanel, HandshakePanel, MeterPanel, showCounters, showFlows, showRates, showStatus, Tabs } from "./panels.js";
import { Player, SPEEDS } from "./player.js";
import { Scene } from "./scene.js";
import { History } from "./state.js";

const STATUS_PAUSE = 1000; // milliseconds between two looks at what real cards have counted
const KINDS = {
  lab: "A lab that runs here.", trace: "A recorded run.",
  run: "A lab that is up: events are sampled, envelopes drawn for half a second.",
};
const PANELS = ["packet", "controls", "handshake", "decision", "flows", "counters", "attacks", "meter"];
const LIST_PAUSE = 100; // likewise of the list
const PANEL_PAUSE = 250; // milliseconds between two drawings of a panel while time goes on

const speedText = (speed) => (speed < 1e-3 ? `${Math.round(speed * 1e6)} µs a second` : speed < 1 ? `${Math.round(speed * 1e3)} ms a second` : "1 s a second");

/** A speed at which a packet is about a second on its link. */
function usualSpeed(links) {
  const delays = Object.values(links).map((link) => link.delay).sort((a, b) => a - b);
  const delay = delays[Math.floor(delays.length / 2)] || 50e-6;
  return SPEEDS.reduce((best, each) => (Math.abs(Math.log(each / delay)) < Math.abs(Math.log(best / delay)) ? each : best));
}

async function start() {
  const about = await get("about");
  const isRun = about.kind === "run";
  const history = new History(isRun);
  document.title = `${about.title}: dtls-emu`;
  byId("title").textContent = about.title;
  byId("kind").textContent = (about.kind === "lab" && about.description) || KINDS[about.kind];
  byId("kind").title = byId("kind").textContent;
  let status = null; // of real cards, as they were asked last

  let drawn = 0;
  let panelAt = 0;
  let listAt = 0;
  let settling = 0;

  const player = new Player(history, about.kind, refresh);
  player.speed = isRun ? 1 : usualSpeed(about.settings.links);

  const tabs = new Tabs(byId("tabs"), byId("panels"), PANELS, (name) => opened(name));
  const handshakes = new HandshakePanel(tabs.panel("handshake"), about);
  const decisions = new DecisionPanel(tabs.panel("decision"), about);
  const inspector = new Inspector(tabs.panel("packet"), {
    toEvent: (index) => { player.pause(); player.seek(index + 1); },
    toDecision: (from, to) => { tabs.open("decision"); decisions.ask(from, to); },
  });
  new AttackPanel(tabs.panel("attacks"), about);
  if (!isRun) new MeterPanel(tabs.panel("meter"), about);
  const controls = new Controls(tabs.panel("controls"), about, { done: goOn });
  const scene = new Scene(about, (kind, name) => {
    if (kind === "packet" || kind === "datagram") {
      player.pause();
      tabs.open("packet");
      inspector.show(kind, name);
      return;
    }
    controls.choose(kind, name);
    if (kind === "host") list.set([name]);
    if (about.live) tabs.open("controls");
  });
  const list = new EventList(history, (index, inside) => {
    player.pause();
    player.seek(index + 1);
    if (inside) look(index);
  });
  list.fill(about.scenes.wide.hosts.map((host) => host.name).filter(Boolean), about.kinds);

  function look(index) {
    const row = history.rows[index];
    tabs.open("packet");
    if (row[3]) inspector.show("packet", row[3]);
    else if (row[7].d) inspector.show("datagram", row[7].d);
    else inspector.tell(`${ms(row[0])}, ${row[2] || "the lab"}: ${row[5]}, ${row[6]}.`);
  }

  function opened(name) {
    if (name === "handshake") handshakes?.refresh();
    if (name === "decision") decisions?.refresh();
    if (name === "flows") showFlows(tabs.panel(name), player.state);
    if (name === "counters" && !isRun) showCounters(tabs.panel(name), player.state);
    if (name === "counters" && status) showStatus(tabs.panel(name), status);
    if (name === "meter" && status) showRates(tabs.panel(name), status);
  }

  async function lookAtStatus() {
    try {
      status = await get("status");
      if (tabs.name === "counters" || tabs.name === "meter") opened(tabs.name);
    } catch (error) {
      player.trouble = error.message;
    }
    setTimeout(lookAtStatus, STATUS_PAUSE);
  }

  /** A control has done something: go to where it happened, and on. */
  async function goOn(stand) {
    const end = performance.now() + 2000;
    while (history.rows.length < stand.events && performance.now() < end) await new Promise((done) => setTimeout(done, 10));
    player.goOn();
  }

  function refresh() {
    const moment = performance.now();
    const passed = Math.min((moment - drawn) / 1e3, 0.1);
    drawn = moment;
    const { state, index, count } = player;
    scene.show(state, player.time, player.speed, player.playing || settling ? passed : 1);
    const time = ms(player.time);
    byId("clock").textContent = time;
    const scrubber = byId("scrubber");
    if (Number(scrubber.max) !== count) scrubber.max = count;
    scrubber.value = index;
    const row = history.rows[index - 1];
    scrubber.setAttribute("aria-valuetext", row ? `event ${index} of ${count}, ${time}` : "the beginning");
    byId("place").textContent = `${index} / ${count}`;
    const play = byId("play");
    const word = player.playing ? "Pause" : "Play";
    if (play.getAttribute("aria-label") !== word) {
      play.lastChild.textContent = word;
      play.setAttribute("aria-label", word);
      play.classList.toggle("playing", player.playing);
    }
    if (!player.playing || moment - listAt > LIST_PAUSE * (scene.crowded ? 3 : 1)) {
      listAt = moment;
      list.reveal(index - 1);
    }
    if (!player.playing || moment - panelAt > PANEL_PAUSE) {
      panelAt = moment;
      if (tabs.name === "flows" || (tabs.name === "counters" && !isRun)) opened(tabs.name);
      const said = player.trouble || (row ? `${row[2] || "the lab"}${row[3] ? `, packet ${row[3]}` : ""}: ${row[5]}, ${row[6]}` : "Nothing has happened yet.");
      // Who listens to the page hears each step, and is left alone while time goes on.
      byId("now").setAttribute("aria-live", player.playing ? "off" : "polite");
      byId("now").textContent = said;
      byId("now").classList.toggle("bad", Boolean(player.trouble));
    }
    settling = 0;
    if (!player.playing && scene.moving) {
      settling = requestAnimationFrame(() => { refresh(); });
    }
  }

  const select = byId("speed");
  select.append(...SPEEDS.map((speed, number) => option(number, speedText(speed), speed === player.speed)));
  const setSpeed = (number) => {
    if (number < 0 || number >= SPEEDS.length) return;
    player.speed = SPEEDS[number];
    select.value = number;
  };
  select.addEventListener("change", () => setSpeed(Number(select.value)));
  byId("play").addEventListener("click", () => player.play());
  byId("step").addEventListener("click", () => player.step());
  byId("back").addEventListener("click", () => player.back());
  byId("first").addEventListener("click", () => { player.pause(); player.seek(0); });
  byId("last").addEventListener("click", () => { player.pause(); player.seek(player.count); });
  byId("scrubber").addEventListener("input", (event) => { player.pause(); player.seek(Number(event.target.value)); });
  byId("help").addEventListener("click", () => byId("keys").showModal());

  byId("widen").addEventListener("click", () => {
    const wide = document.body.classList.toggle("wide");
    byId("widen").setAttribute("aria-pressed", String(wide));
  });

  const keys = {
    " ": () => player.play(), ArrowRight: () => player.step(), ArrowLeft: () => player.back(),
    Home: () => byId("first").click(), End: () => byId("last").click(),
    "+": () => setSpeed(SPEEDS.indexOf(player.speed) + 1), "-": () => setSpeed(SPEEDS.indexOf(player.speed) - 1),
    w: () => byId("widen").click(), "?": () => byId("keys").showModal(),
    ...Object.fromEntries(PANELS.map((name, number) => [String(number + 1), () => tabs.open(name)])),
  };
  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.altKey || event.metaKey || byId("keys").open) return;
    if (event.target.closest("input, select, textarea")) return;
    if (event.key === " " && event.target.closest("button, [role=button], summary, a")) return;
    const act = keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });

  // For a test, and for whoever opens the console: where the page is.
  Object.defineProperty(window, "dtlsEmu", { value: { player, history, list } });

  let first = true;
  await follow(about.events, about.live, async (part) => {
    if (part.era !== about.era) { // what was, is forgotten
      location.reload();
      return;
    }
    const grows = part.rows.length || history.leftOut !== part.left_out;
    await history.add(part);
    history.leftOut = part.left_out;
    if (isRun) player.trouble = part.trouble;
    if (grows) list.grow();
    refresh();
    if (first && (history.rows.length || about.live)) {
      first = false;
      player.play(true);
    }
  });
  if (isRun) lookAtStatus();
  if (about.live && first) {
    first = false;
    player.play(true);
  }
}

start().catch((error) => {
  byId("now").textContent = error.message;
  byId("now").classList.add("bad");
});
