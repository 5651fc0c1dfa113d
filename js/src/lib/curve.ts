// The values that a training reported: the kernel's table, and the lines to draw from it.

import { bytes } from "./bytes";

/** A value at each step, and its running mean; NaN where a step has none. */
export interface Line {
  name: string;
  values: number[];
  means: number[];
}

export interface Curve {
  steps: number[]; // from 1
  lines: Line[];
}

/** The curve in float32 [steps, 1 + 2 * names]: the step, then each name's value and mean. */
export function curveOf(data: unknown, names: readonly string[]): Curve {
  const raw = bytes(data);
  const columns = 1 + 2 * names.length;
  const rows = Math.floor(raw.byteLength / 4 / columns);
  const view = new DataView(raw.buffer, raw.byteOffset, raw.byteLength);
  const column = (at: number) =>
    Array.from({ length: rows }, (_, row) => view.getFloat32(4 * (row * columns + at), true));
  return {
    steps: column(0),
    lines: names.map((name, i) => ({
      name,
      values: column(1 + 2 * i),
      means: column(2 + 2 * i),
    })),
  };
}

/** Whether a line fits a logarithmic scale. */
export function isPositive({ values, means }: Line): boolean {
  return [...values, ...means].every((value) => !Number.isFinite(value) || value > 0);
}

/** The lowest and highest value of a line; undefined if it has none. */
export function rangeOf({ values, means }: Line): [number, number] | undefined {
  const finite = [...values, ...means].filter(Number.isFinite);
  return finite.length > 0 ? [Math.min(...finite), Math.max(...finite)] : undefined;
}

/** Where a value lies in a range: 0 at the lower end, 1 at the upper. */
export function heightOf(value: number, [low, high]: [number, number], log: boolean): number {
  const scale = log ? Math.log : (one: number) => one;
  return high > low ? (scale(value) - scale(low)) / (scale(high) - scale(low)) : 0.5;
}

/** SVG path data through points; a point that is not finite leaves a gap. */
export function pathOf(points: readonly (readonly [number, number])[]): string {
  let pen = "M";
  let path = "";
  for (const [x, y] of points) {
    if (Number.isFinite(y)) path += `${pen}${x.toFixed(2)},${y.toFixed(2)}`;
    pen = Number.isFinite(y) ? "L" : "M";
  }
  return path;
}

/** The row whose step is nearest to `step`; -1 if there is none. */
export function nearest(steps: readonly number[], step: number): number {
  let best = steps.length - 1;
  steps.forEach((one, i) => {
    if (Math.abs(one - step) < Math.abs((steps[best] as number) - step)) best = i;
  });
  return best;
}
