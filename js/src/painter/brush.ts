// The brush: which pixels a stroke covers, and how much.

import { clamp } from "../lib/numbers";
import type { Paint } from "./paint";
import { type Box, boxOf, type Plane, type Point } from "./plane";

/** A place of a stroke, and how wide the brush is there. */
export interface Tip extends Point {
  readonly radius: number;
}

/** The smallest radius: the pixel at the tip is covered wherever in it the tip is. */
const LEAST = Math.SQRT1_2;

/** The share of a pixel at a distance from the middle of the brush; `soft` of its radius fade. */
export function cover(distance: number, radius: number, soft: number): number {
  if (distance > radius) return 0;
  const hard = radius * (1 - soft);
  if (distance <= hard) return 1;
  return (1 + Math.cos((Math.PI * (distance - hard)) / (radius - hard))) / 2;
}

/**
 * Paints from one tip to the next; returns the box that may have changed.
 *
 * A pixel gets the most that any place of the line gives its centre. So strokes over the same place
 * do not add up, and a line is the same however many events it comes in.
 */
export function brush(
  { width, height, data }: Plane,
  from: Tip,
  to: Tip,
  soft: number,
  paint: Paint,
): Box | undefined {
  const [a, b] = [Math.max(from.radius, LEAST), Math.max(to.radius, LEAST)];
  const most = Math.max(a, b);
  const box = boxOf(
    Math.min(from.x, to.x) - most,
    Math.min(from.y, to.y) - most,
    Math.max(from.x, to.x) + most,
    Math.max(from.y, to.y) + most,
    { width, height },
  );
  if (!box) return undefined;
  const [dx, dy] = [to.x - from.x, to.y - from.y];
  const length = dx * dx + dy * dy;
  for (let y = box.y; y < box.y + box.height; y++) {
    const py = y + 0.5 - from.y;
    for (let x = box.x, i = y * width + x; x < box.x + box.width; x++, i++) {
      const px = x + 0.5 - from.x;
      const along = length > 0 ? clamp((px * dx + py * dy) / length, 0, 1) : 0;
      const away = Math.hypot(px - along * dx, py - along * dy);
      const share = Math.round(255 * cover(away, a + along * (b - a), soft));
      if (share > 0) data[i] = paint.under(data[i] as number, share);
    }
  }
  return box;
}
