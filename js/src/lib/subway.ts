// Where everything is on the map of a tree of runs: a row for each run, under the step at which it
// leaves its parent, and a line from there.

import { clamp } from "./numbers";

/** A run, as far as its place is concerned. */
export interface Stop {
  id: number;
  parent: number | null;
  step: number; // how many first steps are the parent's own
  steps: number; // of the whole run
}

export interface Row {
  id: number;
  level: number; // 1 is the root
  position: number; // among its parent's children, from 1
  siblings: number;
  y: number; // the middle of its line
  from: number; // x where its own steps begin
  to: number; // x of its end, where its image is
  line: string; // the path of its line, from its parent's on
}

export interface Layout {
  rows: Row[];
  height: number;
  each: number; // the width of a step
  x(step: number): number; // of the beginning of a step
  ticks: { step: number; x: number }[];
}

export const ROW = 72; // pixels
const BEND = 14; // radius where a line leaves another
const LEFT = 12;
const TICK = 46; // pixels between two numbers of steps, at least

/** The places for a map whose steps take `width` pixels; `runs`: parents first. */
export function layout(runs: readonly Stop[], width: number): Layout {
  const longest = Math.max(1, ...runs.map(({ steps }) => steps));
  const each = Math.max(width - LEFT, 1) / longest;
  const x = (step: number) => LEFT + clamp(step, 0, longest) * each;
  const rows = new Map<number, Row>();
  const children = (id: number | null) => runs.filter(({ parent }) => parent === id);
  runs.forEach((run, i) => {
    const above = run.parent === null ? undefined : rows.get(run.parent);
    const y = (i + 0.5) * ROW;
    const from = x(run.step);
    const to = x(run.steps);
    const all = children(run.parent);
    rows.set(run.id, {
      id: run.id,
      level: (above?.level ?? 0) + 1,
      position: all.indexOf(run) + 1,
      siblings: all.length,
      y,
      from,
      to,
      line: lineOf(from, to, y, above?.y),
    });
  });
  return {
    rows: [...rows.values()],
    height: runs.length * ROW,
    each,
    x,
    ticks: ticksOf(longest, each).map((step) => ({ step, x: x(step) })),
  };
}

/** Down from the parent's line, around a bend, and along the row. */
function lineOf(from: number, to: number, y: number, above: number | undefined): string {
  const at = (value: number) => Number(value.toFixed(1));
  if (above === undefined) return `M${at(from)} ${at(y)}H${at(to)}`;
  const bend = Math.min(BEND, Math.max(to - from, 0));
  return (
    `M${at(from)} ${at(above)}V${at(y - bend)}` +
    `Q${at(from)} ${at(y)} ${at(from + bend)} ${at(y)}H${at(to)}`
  );
}

/** The numbers of steps along the axis: round, and not too many. */
function ticksOf(longest: number, each: number): number[] {
  const by = [1, 2, 5, 10, 20, 50, 100, 200, 500].find((one) => one * each >= TICK) ?? 1000;
  const ticks: number[] = [];
  for (let step = 0; step <= longest; step += by) ticks.push(step);
  return ticks;
}

/** The places of `among` that have room for a thumbnail of that width, evenly, the last included. */
export function thatFit(among: readonly number[], each: number, width: number): number[] {
  const fit: number[] = [];
  let free = Number.POSITIVE_INFINITY;
  for (const step of [...among].reverse()) {
    if ((free - step) * each < width) continue;
    fit.unshift(step);
    free = step;
  }
  return fit;
}

/** The step of `among` nearest to one, the earlier of two; 0 if there is none. */
export function nearest(among: readonly number[], step: number): number {
  const off = (one: number) => Math.abs(one - step);
  return among.reduce((best, one) => (off(one) < off(best) ? one : best), among[0] ?? 0);
}
