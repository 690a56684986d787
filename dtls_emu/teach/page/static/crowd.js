// Envelopes by the hundred: on one canvas above the picture, stamped from a few images, instead of an element for each.
//
// The picture below stays as it is, so the browser draws only what moves.

import { make } from "./dom.js";

const WIDTH = 34; // of an envelope, in units of the picture
const HEIGHT = 26;
const LEAST = 15; // pixels that one is wide at least, however small the picture is
const SHARPEST = 2; // pixels of the canvas for one of the page
const PAPERS = { clear: "--clear", unprotected: "--clear", sealed: "--sealed", handshake: "--shake", dropped: "--gone" };

const MARKS = { // in units of an envelope
  clear: "M7 6H27M7 10H27M7 14H20",
  unprotected: "M2 3L17 15L32 3M11 20v-4a5 5 0 0 1 10 0",
  sealed: "M2 3L17 15L32 3",
  handshake: "M9 13h16M20 8l5 5-5 5M14 8l-5 5 5 5",
  dropped: "M11 7L23 19M23 7L11 19",
};

export class Crowd {
  constructor(svg) {
    this.svg = svg;
    this.canvas = make("canvas", { id: "crowd", "aria-hidden": "true" });
    svg.after(this.canvas);
    this.pen = this.canvas.getContext("2d");
    this.stamps = new Map();
    this.shown = [];
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.stamps.clear());
  }

  /** Take the place and the scale of the picture. */
  fit() {
    const box = this.svg.getBoundingClientRect();
    const within = this.svg.parentElement.getBoundingClientRect();
    const matrix = this.svg.getScreenCTM();
    if (!matrix || !box.width) return;
    const sharp = Math.min(devicePixelRatio || 1, SHARPEST);
    Object.assign(this.canvas.style, {
      left: `${box.left - within.left}px`, top: `${box.top - within.top}px`, width: `${box.width}px`, height: `${box.height}px`,
    });
    this.canvas.width = Math.round(box.width * sharp);
    this.canvas.height = Math.round(box.height * sharp);
    this.scale = matrix.a * sharp;
    this.origin = [(matrix.e - box.left) * sharp, (matrix.f - box.top) * sharp];
    this.size = Math.max(WIDTH * this.scale, LEAST * sharp);
    this.stamps.clear();
  }

  /** Draw envelopes: where their middle is in the picture, what they look like, and whose they are. */
  draw(envelopes) {
    const { pen, canvas } = this;
    if (!this.scale) this.fit();
    if (this.shown.length) pen.clearRect(0, 0, canvas.width, canvas.height);
    this.shown = envelopes;
    for (const { at, shape } of envelopes) {
      const stamp = this.stamp(shape);
      pen.drawImage(stamp, Math.round(at[0] * this.scale + this.origin[0] - stamp.width / 2), Math.round(at[1] * this.scale + this.origin[1] - stamp.height / 2));
    }
  }

  /** The entry of the envelope at a place of the screen, the uppermost one first. */
  find(x, y) {
    const box = this.canvas.getBoundingClientRect();
    const sharp = this.canvas.width / (box.width || 1);
    const [px, py] = [(x - box.left) * sharp, (y - box.top) * sharp];
    return this.shown.findLast(({ at }) => Math.abs(at[0] * this.scale + this.origin[0] - px) <= this.size / 2
      && Math.abs(at[1] * this.scale + this.origin[1] - py) <= this.size * HEIGHT / WIDTH / 2)?.entry;
  }

  stamp(shape) {
    let stamp = this.stamps.get(shape);
    if (!stamp) this.stamps.set(shape, stamp = this.engrave(shape));
    return stamp;
  }

  engrave(shape) {
    const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
    const stamp = make("canvas", { width: Math.ceil(this.size), height: Math.ceil(this.size * HEIGHT / WIDTH) });
    const pen = stamp.getContext("2d");
    pen.scale(this.size / WIDTH, this.size / WIDTH);
    pen.lineWidth = Math.max(1.4, WIDTH / this.size);
    pen.fillStyle = colour(PAPERS[shape] ?? "--clear");
    pen.strokeStyle = colour(shape === "dropped" ? "--bad" : "--ink");
    const paper = new Path2D();
    paper.roundRect(1, 1, WIDTH - 2, HEIGHT - 2, 3);
    pen.fill(paper);
    pen.stroke(paper);
    pen.stroke(new Path2D(MARKS[shape] ?? MARKS.clear));
    if (shape === "sealed") { // the lock
      pen.fillStyle = pen.strokeStyle;
      pen.fillRect(11, 13, 12, 9);
      pen.stroke(new Path2D("M13 14V11a4 4 0 0 1 8 0v3"));
    }
    return stamp;
  }
}
