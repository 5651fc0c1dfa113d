// Boxes in fractions of an image, and what a hand does to them.

import { BOXES } from "../lib/contract";
import { clamp } from "../lib/numbers";

/** x0, y0, x1, y1, from 0 to 1. */
export type Corners = readonly [x0: number, y0: number, x1: number, y1: number];
export type NamedBox = readonly [name: string, corners: Corners];

/** A place in an image, in fractions of its width and height. */
export interface Place {
  readonly x: number;
  readonly y: number;
}

/** The sides that a handle moves: -1 the left or top one, 1 the right or bottom one, 0 neither. */
export type Handle = readonly [across: -1 | 0 | 1, down: -1 | 0 | 1];

const SCALE = 10 ** BOXES.digits;
/** A fraction as it is kept: short enough to be read. */
export const rounded = (value: number) => Math.round(value * SCALE) / SCALE;

const { least: LEAST } = BOXES;
const within = (value: number) => clamp(value, 0, 1);
const kept = (corners: Corners): Corners => corners.map(rounded) as unknown as Corners;

/** The box between two places, which may lie beyond the image; at least the smallest that there is. */
export function between(a: Place, b: Place): Corners {
  const side = (one: number, other: number) => {
    const low = clamp(Math.min(one, other), 0, 1 - LEAST);
    return [low, Math.max(within(Math.max(one, other)), low + LEAST)] as const;
  };
  const [[x0, x1], [y0, y1]] = [side(a.x, b.x), side(a.y, b.y)];
  return kept([x0, y0, x1, y1]);
}

/** The box after it was moved; it stays whole and inside. */
export function moved([x0, y0, x1, y1]: Corners, dx: number, dy: number): Corners {
  const [right, down] = [clamp(dx, -x0, 1 - x1), clamp(dy, -y0, 1 - y1)];
  return kept([x0 + right, y0 + down, x1 + right, y1 + down]);
}

/** The box after some of its sides were moved; none passes the one across from it. */
export function resized(
  [x0, y0, x1, y1]: Corners,
  [across, down]: Handle,
  dx: number,
  dy: number,
): Corners {
  const low = (value: number, by: number, end: number) => clamp(value + by, 0, end - LEAST);
  const high = (value: number, by: number, from: number) => clamp(value + by, from + LEAST, 1);
  return kept([
    across < 0 ? low(x0, dx, x1) : x0,
    down < 0 ? low(y0, dy, y1) : y0,
    across > 0 ? high(x1, dx, x0) : x1,
    down > 0 ? high(y1, dy, y0) : y1,
  ]);
}

/** The box with one corner's number set, 0 to 3; undefined if that leaves nothing of it. */
export function withNumber(corners: Corners, which: number, value: number): Corners | undefined {
  if (!Number.isFinite(value)) return undefined;
  const next = [...corners] as [number, number, number, number];
  next[which] = rounded(within(value));
  const [x0, y0, x1, y1] = next;
  return x0 < x1 && y0 < y1 ? next : undefined;
}

export const inside = ([x0, y0, x1, y1]: Corners, { x, y }: Place) =>
  x >= x0 && x <= x1 && y >= y0 && y <= y1;

const area = ([x0, y0, x1, y1]: Corners) => (x1 - x0) * (y1 - y0);

/** Whether a box covers the whole image, and so cannot be moved. */
export const isWhole = (corners: Corners) => area(corners) >= 1;

/** The indices of the boxes at a place: the smallest first, and of equal ones the one in front. */
export const at = (boxes: readonly NamedBox[], place: Place): number[] =>
  boxes
    .map(([, corners], i) => ({ corners, i }))
    .filter(({ corners }) => inside(corners, place))
    .sort((a, b) => area(a.corners) - area(b.corners) || b.i - a.i)
    .map(({ i }) => i);

/** The box that a click chooses: the first at that place, or the one after the chosen; -1: none. */
export function clicked(boxes: readonly NamedBox[], place: Place, chosen: number): number {
  const there = at(boxes, place);
  return there[(there.indexOf(chosen) + 1) % Math.max(there.length, 1)] ?? -1;
}
