// The page's own place in time. It runs behind the lab's clock, or along a trace; the lab is asked to run on when it is near.

import { post } from "./link.js";

export const SPEEDS = [10e-6, 20e-6, 50e-6, 100e-6, 200e-6, 500e-6, 1e-3, 5e-3, 20e-3, 100e-3, 1];
const QUIET = 0.7; // seconds on the screen: a longer wait in which nothing is under way is cut to this
const AHEAD = 0.6; // seconds on the screen that the lab is ahead
const PATIENCE = 1500; // milliseconds for an answer, until it is said why there is none yet
const LAG = 0.5; // seconds that the page is behind real hosts: their events come in batches
const STALE = 2; // seconds behind them from which on what was missed is passed over
const BURST = 400; // events that the lab is asked for at a time

export class Player {
  constructor(history, kind, told) {
    this.history = history;
    this.live = kind === "lab"; // it runs on when it is asked to
    this.follows = kind === "run"; // it runs by itself
    this.atHead = this.follows;
    this.told = told; // called with this when the place has changed
    this.state = history.at(0);
    this.time = 0;
    this.speed = SPEEDS[3];
    this.playing = false;
    this.asked = false;
    this.era = 0; // goes up when something is done to the lab: answers to what was asked before are of no use then
    this.trouble = "";
    this.then = 0;
    this.pending = 0;
  }

  get index() { return this.state.at; }
  get count() { return this.history.rows.length; }
  get atEnd() { return !this.follows && this.index >= this.count && (!this.live || this.history.ended); }

  play(on = !this.playing) {
    if (on && this.atEnd && !this.live) this.seek(0);
    this.playing = on;
    this.then = performance.now();
    this.told(this);
    cancelAnimationFrame(this.pending);
    if (on) this.again();
  }

  frame(moment) {
    if (!this.playing) return;
    const passed = Math.min((moment - this.then) / 1e3, 0.1);
    this.then = moment;
    this.move(passed);
    this.told(this);
    if (this.playing) this.again();
  }

  again() {
    this.pending = requestAnimationFrame((moment) => this.frame(moment));
  }

  /** Along with real hosts, a little behind them. */
  follow(passed) {
    const { rows, now } = this.history;
    let until = this.time + passed * this.speed;
    if (until >= now - LAG) this.atHead = true;
    else if (this.atHead && now - until > STALE) until = now - LAG;
    this.time = Math.max(this.time, Math.min(until, now));
    let index = this.index;
    while (index < rows.length && rows[index][0] <= this.time) index += 1;
    this.state = this.history.at(index, this.state);
  }

  move(passed) {
    if (this.follows) {
      this.follow(passed);
      return;
    }
    const rows = this.history.rows;
    let until = this.time + passed * this.speed;
    const next = rows[this.index];
    if (next && !this.state.flights.size && next[0] - this.time > QUIET * this.speed) {
      until = Math.max(until, next[0] - QUIET * this.speed * 0.5);
    }
    let index = this.index;
    while (index < rows.length && rows[index][0] <= until) index += 1;
    if (index < rows.length) this.time = until;
    else this.time = Math.max(this.time, Math.min(until, this.history.now));
    this.state = this.history.at(index, this.state);
    if (this.history.now - this.time < AHEAD * this.speed) this.ask(AHEAD * 2 * this.speed, BURST);
    if (this.atEnd && this.time >= this.history.now && !this.state.flights.size) this.playing = false;
  }

  /** Have the lab run on; what happens comes as events. */
  async ask(seconds, events) {
    if (!this.live || this.asked || this.history.ended) return;
    this.asked = true;
    const era = this.era;
    const before = this.history.rows.length;
    const slow = setTimeout(() => {
      this.trouble = "The lab is at work. On first use the datapath is compiled, which can take half a minute.";
      this.told(this);
    }, PATIENCE);
    try {
      const stand = await post("advance", { seconds, events });
      if (era !== this.era) return;
      this.trouble = "";
      // Not again before the events are here, or it is clear that there are none.
      const end = performance.now() + 1000;
      while (this.history.rows.length < stand.events && performance.now() < end) {
        await new Promise((done) => setTimeout(done, 10));
      }
      if (era !== this.era) return;
      this.history.now = Math.max(this.history.now, stand.now);
      this.history.ended = stand.ended;
      if (stand.events === before && !stand.ended && this.playing) await new Promise((done) => setTimeout(done, 100));
    } catch (error) {
      this.playing = false;
      this.trouble = error.message;
    } finally {
      clearTimeout(slow);
    }
    this.asked = false;
    this.told(this);
  }

  /** Something was done to the lab, and so it goes on: from there. */
  goOn() {
    this.era += 1;
    this.asked = false;
    this.history.ended = false;
    this.seek(this.count);
    this.time = Math.max(this.time, this.history.now - (this.follows ? LAG : 0));
    this.play(true);
  }

  seek(index) {
    this.state = this.history.at(Math.max(0, Math.min(index, this.count)), this.state);
    this.time = this.state.time;
    this.atHead = this.follows && index >= this.count;
    this.told(this);
  }

  pause() {
    if (this.playing) this.play(false);
  }

  async step() {
    this.pause();
    if (this.index >= this.count) await this.ask(0, 1);
    this.seek(this.index + 1);
  }

  back() {
    this.pause();
    this.seek(this.index - 1);
  }
}
