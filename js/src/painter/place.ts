// Where the image lies in its frame: how large, and how far off. All in CSS pixels.

import { clamp } from "../lib/numbers";
import type { Box, Point, Size } from "./plane";

/** The image's first corner in the frame, and the CSS pixels of an image's pixel. */
export interface Place extends Point {
  readonly scale: number;
}

const LARGEST = 32; // CSS pixels of a pixel
const MARGIN = 28; // CSS pixels around an image that fits, for its edges

/** The place at which a box of the image fills the frame. */
export function fitting(box: Box, frame: Size): Place {
  const scale = Math.min(
    Math.max(frame.width - 2 * MARGIN, 1) / box.width,
    Math.max(frame.height - 2 * MARGIN, 1) / box.height,
    LARGEST,
  );
  return {
    scale,
    x: (frame.width - box.width * scale) / 2 - box.x * scale,
    y: (frame.height - box.height * scale) / 2 - box.y * scale,
  };
}

/** The place after the image has grown by a factor around a point of the frame, which stays. */
export function zoomed(place: Place, by: number, at: Point, box: Box, frame: Size): Place {
  const least = Math.min(fitting(box, frame).scale, 1);
  const scale = clamp(place.scale * by, least / 2, LARGEST);
  const grown = scale / place.scale;
  const x = at.x - (at.x - place.x) * grown;
  return kept({ scale, x, y: at.y - (at.y - place.y) * grown }, box, frame);
}

/** The place after the image was moved; a part of it stays in the middle of the frame. */
export function moved(place: Place, dx: number, dy: number, box: Box, frame: Size): Place {
  return kept({ ...place, x: place.x + dx, y: place.y + dy }, box, frame);
}

function kept({ scale, x, y }: Place, box: Box, frame: Size): Place {
  const inside = (value: number, from: number, side: number, room: number) =>
    clamp(value, room / 2 - (from + side) * scale, room / 2 - from * scale);
  return {
    scale,
    x: inside(x, box.x, box.width, frame.width),
    y: inside(y, box.y, box.height, frame.height),
  };
}

/** The place nearest to this one at which a point of the image can be seen. */
export function showing(place: Place, { x, y }: Point, frame: Size): Place {
  const near = (value: number, at: number, room: number) => {
    const margin = Math.min(24, room / 4);
    return clamp(value + at * place.scale, margin, room - margin) - at * place.scale;
  };
  return {
    scale: place.scale,
    x: near(place.x, x, frame.width),
    y: near(place.y, y, frame.height),
  };
}
