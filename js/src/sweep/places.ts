// Where each point of a sweep stands: pure arithmetic. A point's number counts along the first axis
// first. The first axis makes the columns, the second the rows, the third the tabs.

import { times } from "../lib/numbers";

export interface Axis {
  name: string; // of a setting, in words
  values: string[]; // in words
}

/** The number of columns, rows and tabs; 1 for an axis that is not there. */
export function sizes(axes: readonly Axis[]): [number, number, number] {
  const [columns, rows, tabs] = axes.map(({ values }) => Math.max(values.length, 1));
  return [columns ?? 1, rows ?? 1, tabs ?? 1];
}

/** The column, the row and the tab of a point. */
export function placeOf(axes: readonly Axis[], point: number): [number, number, number] {
  const [columns, rows] = sizes(axes);
  const line = Math.floor(point / columns);
  return [point % columns, line % rows, Math.floor(line / rows)];
}

/** The point at that place. */
export function pointAt(axes: readonly Axis[], column: number, row: number, tab: number): number {
  const [columns, rows] = sizes(axes);
  return (tab * rows + row) * columns + column;
}

/** The points of a tab, row by row. */
export function table(axes: readonly Axis[], tab: number): number[][] {
  const [columns, rows] = sizes(axes);
  return times(rows, (row) => times(columns, (column) => pointAt(axes, column, row, tab)));
}

/** Points one after another, in rows of so many. */
export function flow(points: readonly number[], columns: number): number[][] {
  const each = Math.max(columns, 1);
  return times(Math.ceil(points.length / each), (row) =>
    points.slice(row * each, (row + 1) * each),
  );
}

/** The points by a score, the highest first; those without one at the end, in their own order. */
export function ranked(score: (point: number) => number, count: number): number[] {
  const has = (point: number) => Number.isFinite(score(point));
  return times(count, (point) => point).sort(
    (a, b) => Number(has(b)) - Number(has(a)) || (has(a) ? score(b) - score(a) : 0) || a - b,
  );
}

/** A point in words: "a cat, seed 3, guidance scale 7". */
export function named(axes: readonly Axis[], point: number): string {
  const places = placeOf(axes, point);
  return axes
    .map(({ name, values }, i) => worded(name, values[places[i] as number] ?? ""))
    .join(", ");
}

/** A value with its name, where it does not speak for itself. */
export const worded = (name: string, value: string) =>
  name.startsWith("prompt") ? value || "no prompt" : `${name} ${value}`;
