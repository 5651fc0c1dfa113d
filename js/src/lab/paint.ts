// Strokes of a brush on latents: their cells, and how they look before the kernel answers.

import { ALL_CHANNELS, type PAINT_MODES } from "../lib/contract";
import type { Grid } from "./channel";
import type { EditJson } from "./view";

export interface Cell {
  x: number;
  y: number;
}

/** The cells on the straight line between two, both included: a fast pointer skips some. */
export function way(from: Cell, to: Cell): Cell[] {
  const steps = Math.max(Math.abs(to.x - from.x), Math.abs(to.y - from.y));
  const between = (start: number, end: number, i: number) =>
    steps === 0 ? start : Math.round(start + ((end - start) * i) / steps);
  return Array.from({ length: steps + 1 }, (_, i) => ({
    x: between(from.x, to.x, i),
    y: between(from.y, to.y, i),
  }));
}

export interface Brush {
  channel: number; // or ALL_CHANNELS
  value: number;
  mode: (typeof PAINT_MODES)[number];
}

/** One stroke: each cell once, however often the pointer comes by. */
export class Stroke {
  readonly #cells = new Map<string, Cell>();
  #last: Cell | undefined;

  constructor(readonly brush: Brush) {}

  /** Continues to a cell; returns the cells that are new. */
  to(cell: Cell): Cell[] {
    const fresh = way(this.#last ?? cell, cell).filter(({ x, y }) => !this.#cells.has(`${x},${y}`));
    for (const one of fresh) this.#cells.set(`${one.x},${one.y}`, one);
    this.#last = cell;
    return fresh;
  }

  /** Leaves the canvas: no line is drawn to where it returns. */
  leave() {
    this.#last = undefined;
  }

  /** The edit that the kernel gets. */
  get edit(): EditJson & { cells: number[][] } {
    const cells = [...this.#cells.values()].map(({ x, y }) => [x, y]);
    return { type: "paint", ...this.brush, cells };
  }
}

/** Paints a cell of these latents, as the kernel will. */
export function dab(grid: Grid, { channel, value, mode }: Brush, { x, y }: Cell) {
  const cells = grid.width * grid.height;
  for (let c = 0; c < grid.channels; c++) {
    if (channel !== ALL_CHANNELS && channel !== c) continue;
    const i = c * cells + y * grid.width + x;
    grid.values[i] = value + (mode === "add" ? (grid.values[i] as number) : 0);
  }
}
