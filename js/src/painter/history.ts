// What was painted, change by change, so that it can be undone.

import { PAINTER } from "../lib/contract";
import { type Box, crop, type Plane, put } from "./plane";

interface Change {
  readonly box: Box;
  readonly before: Uint8Array;
  readonly after: Uint8Array;
}

/** The changes of a mask; each holds the levels in its box, before and after. */
export class History {
  #done: Change[] = [];
  #undone: Change[] = [];

  get undos() {
    return this.#done.length;
  }
  get redos() {
    return this.#undone.length;
  }

  /** Takes a change that was just made in a box, where `before` had the mask's levels until then. */
  add(plane: Plane, box: Box, before: Uint8Array) {
    this.#undone = [];
    const was = crop({ width: plane.width, data: before }, box);
    this.#done.push({ box, before: was, after: crop(plane, box) });
    const bytes = () => this.#done.reduce((sum, { before }) => sum + 2 * before.length, 0);
    while (this.#done.length > 1 && (this.undos > PAINTER.undo || bytes() > PAINTER.history)) {
      this.#done.shift();
    }
  }

  clear() {
    this.#done = [];
    this.#undone = [];
  }

  /** Undoes the last change; returns its box, or undefined if there is none. */
  undo(plane: Plane): Box | undefined {
    const change = this.#done.pop();
    if (!change) return undefined;
    this.#undone.push(change);
    put(plane, change.box, change.before);
    return change.box;
  }

  /** Does the change again that was undone last. */
  redo(plane: Plane): Box | undefined {
    const change = this.#undone.pop();
    if (!change) return undefined;
    this.#done.push(change);
    put(plane, change.box, change.after);
    return change.box;
  }
}
