// Shapes: rectangles and free outlines.

import type { Paint } from "./paint";
import { type Box, boxOf, type Plane, type Point } from "./plane";

/** Covers every pixel of the rectangle with two corners, which may lie outside; returns its box. */
export function rectangle(plane: Plane, a: Point, b: Point, { value }: Paint): Box | undefined {
  const box = boxOf(
    Math.floor(Math.min(a.x, b.x)),
    Math.floor(Math.min(a.y, b.y)),
    Math.floor(Math.max(a.x, b.x)) + 1,
    Math.floor(Math.max(a.y, b.y)) + 1,
    plane,
  );
  if (!box) return undefined;
  for (let y = box.y; y < box.y + box.height; y++) {
    const from = y * plane.width + box.x;
    plane.data.fill(value, from, from + box.width);
  }
  return box;
}

/**
 * Covers every pixel whose centre is inside an outline, which is closed from its last place to its
 * first; returns its box. What the outline goes around, however often, is inside.
 */
export function outline(plane: Plane, points: readonly Point[], { value }: Paint): Box | undefined {
  const xs = points.map(({ x }) => x);
  const ys = points.map(({ y }) => y);
  const box =
    points.length > 2 &&
    boxOf(least(xs), least(ys), -least(xs.map(negative)), -least(ys.map(negative)), plane);
  if (!box) return undefined;
  for (let y = box.y; y < box.y + box.height; y++) {
    const middle = y + 0.5;
    const crossings: { x: number; way: number }[] = [];
    points.forEach((from, i) => {
      const to = points[(i + 1) % points.length] as Point;
      const way = Number(to.y > middle) - Number(from.y > middle);
      if (way === 0) return;
      crossings.push({ x: from.x + ((middle - from.y) / (to.y - from.y)) * (to.x - from.x), way });
    });
    crossings.sort((one, other) => one.x - other.x);
    let winding = 0;
    crossings.forEach(({ x, way }, i) => {
      winding += way;
      const next = crossings[i + 1];
      if (winding === 0 || !next) return;
      const first = Math.max(Math.ceil(x - 0.5), box.x);
      const end = Math.min(Math.ceil(next.x - 0.5), box.x + box.width);
      if (first < end) {
        plane.data.fill(value, y * plane.width + first, y * plane.width + end);
      }
    });
  }
  return box;
}

const negative = (value: number) => -value;
const least = (values: readonly number[]) => values.reduce((a, b) => Math.min(a, b), Infinity);
