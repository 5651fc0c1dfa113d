// A mask as a plane of levels, 0 to 255, and the boxes of it that change.

export interface Size {
  readonly width: number;
  readonly height: number;
}

export interface Plane extends Size {
  readonly data: Uint8Array; // row by row
}

/** A place in an image: pixel i of a row lies between i and i + 1. */
export interface Point {
  readonly x: number;
  readonly y: number;
}

/** A box of whole pixels. */
export interface Box extends Point, Size {}

export const plane = (width: number, height: number): Plane => ({
  width,
  height,
  data: new Uint8Array(width * height),
});

export const whole = ({ width, height }: Size): Box => ({ x: 0, y: 0, width, height });

/** The whole pixels between two corners that lie inside an image; undefined if there are none. */
export function boxOf(
  left: number,
  top: number,
  right: number,
  bottom: number,
  { width, height }: Size,
): Box | undefined {
  const x = Math.max(Math.floor(left), 0);
  const y = Math.max(Math.floor(top), 0);
  const wide = Math.min(Math.ceil(right), width) - x;
  const high = Math.min(Math.ceil(bottom), height) - y;
  return wide > 0 && high > 0 ? { x, y, width: wide, height: high } : undefined;
}

/** The smallest box with both. */
export function union(one: Box | undefined, other: Box | undefined): Box | undefined {
  if (!one || !other) return one ?? other;
  const x = Math.min(one.x, other.x);
  const y = Math.min(one.y, other.y);
  const width = Math.max(one.x + one.width, other.x + other.width) - x;
  return { x, y, width, height: Math.max(one.y + one.height, other.y + other.height) - y };
}

/** The levels in a box, row by row. */
export function crop({ width, data }: Omit<Plane, "height">, box: Box): Uint8Array<ArrayBuffer> {
  const made = new Uint8Array(box.width * box.height);
  for (let row = 0; row < box.height; row++) {
    const from = (box.y + row) * width + box.x;
    made.set(data.subarray(from, from + box.width), row * box.width);
  }
  return made;
}

/** Puts levels into a box. */
export function put({ width, data }: Plane, box: Box, levels: Uint8Array) {
  for (let row = 0; row < box.height; row++) {
    const part = levels.subarray(row * box.width, (row + 1) * box.width);
    data.set(part, (box.y + row) * width + box.x);
  }
}

/** The smallest box in which two arrays of an image differ; undefined if they do not. */
export function difference(
  { width, height }: Size,
  one: Uint8Array,
  other: Uint8Array,
): Box | undefined {
  let [left, right, top, bottom] = [width, -1, -1, -1];
  for (let y = 0, start = 0; y < height; y++, start += width) {
    let first = 0;
    while (first < width && one[start + first] === other[start + first]) first++;
    if (first === width) continue;
    let last = width - 1;
    while (one[start + last] === other[start + last]) last--;
    left = Math.min(left, first);
    right = Math.max(right, last);
    if (top < 0) top = y;
    bottom = y;
  }
  if (top < 0) return undefined;
  return { x: left, y: top, width: right - left + 1, height: bottom - top + 1 };
}
