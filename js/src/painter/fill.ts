// Filling: an area that is closed off by what is painted around it.

import type { Paint } from "./paint";
import { type Box, type Plane, type Point, union } from "./plane";

/** Fills the area around a place that is open to the paint; returns its box. Pixels touch at their sides. */
export function fill(plane: Plane, at: Point, paint: Paint): Box | undefined {
  const { width, height, data } = plane;
  const [x, y] = [Math.floor(at.x), Math.floor(at.y)];
  if (x < 0 || y < 0 || x >= width || y >= height) return undefined;
  const first = data[y * width + x] as number;
  const open = (i: number) => paint.open(data[i] as number, first);
  if (!open(y * width + x)) return undefined;
  // Of faint pixels around the area, those that touch it become part of it.
  let box: Box | undefined;
  const waiting = [y * width + x];
  while (waiting.length > 0) {
    const i = waiting.pop() as number;
    if (!open(i)) continue;
    const row = i - (i % width);
    let from = i;
    while (from > row && open(from - 1)) from--;
    let end = i + 1;
    while (end < row + width && open(end)) end++;
    data.fill(paint.value, from, end);
    box = union(box, { x: from - row, y: row / width, width: end - from, height: 1 });
    for (const beside of [from - width, from + width]) {
      if (beside < 0 || beside >= width * height) continue;
      for (let k = beside, inside = false; k < beside + end - from; k++) {
        if (open(k) && !inside) waiting.push(k);
        inside = open(k);
      }
    }
  }
  return box;
}
