// One use of a tool, from where it touches the image to where it is lifted.

import { brush, type Tip } from "./brush";
import { fill } from "./fill";
import type { Paint } from "./paint";
import { type Box, type Point, union } from "./plane";
import { outline, rectangle } from "./shapes";
import type { Sketch } from "./sketch";
import { hasBrush, type Tools } from "./tools";

const GENTLEST = 0.1; // of the brush's width, by a pen that hardly touches

/** A use of a tool that has begun in the sketch. Places may lie outside the image. */
export class Stroke {
  readonly points: Point[] = [];
  readonly #sketch: Sketch;
  readonly #tools: Tools;
  readonly #paint: Paint;
  #last: Tip | undefined;
  #box: Box | undefined; // of a rectangle so far

  constructor(sketch: Sketch, tools: Tools, paint: Paint) {
    this.#sketch = sketch;
    this.#tools = { ...tools };
    this.#paint = paint;
  }

  get tool() {
    return this.#tools.tool;
  }

  /** Goes on to a place. `pressure`: a pen's, 0 to 1. */
  to(point: Point, pressure = 1) {
    const { plane } = this.#sketch;
    const first = this.points[0] ?? point;
    if (this.tool === "fill") {
      if (this.points.length === 0) this.#sketch.touch(fill(plane, point, this.#paint));
    } else if (hasBrush(this.#tools)) {
      const { size, soft } = this.#tools;
      const width = this.#tools.pressure ? GENTLEST + (1 - GENTLEST) * pressure : 1;
      const tip = { ...point, radius: (size / 2) * width };
      this.#sketch.touch(brush(plane, this.#last ?? tip, tip, soft, this.#paint));
      this.#last = tip;
    } else if (this.tool === "rectangle") {
      this.#sketch.reset(this.#box);
      const box = rectangle(plane, first, point, this.#paint);
      this.#sketch.touch(union(this.#box, box));
      this.#box = box;
    }
    this.points.push(point);
  }

  /** Lifts the tool: what it did is a change of the mask. */
  lift() {
    if (this.tool === "lasso") {
      this.#sketch.touch(outline(this.#sketch.plane, this.points, this.#paint));
    }
    this.#sketch.end();
  }
}
