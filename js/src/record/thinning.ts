// Some of many steps, as Python chooses them (trace/thinning.py).

import { nearestEven } from "./frames";

/** The smallest stride that leaves at most `most` of `count` items, the last one included. */
export const strideFor = (count: number, most: number) =>
  Math.max(Math.ceil((count - 1) / (most - 1)), 1);

/** Every `stride`-th item, starting with the first, and the last. */
export const strided = <T>(items: readonly T[], stride: number) =>
  items.filter((_, i) => i % stride === 0 || i === items.length - 1);

/** At most `most` (2 or more) of the items, spread evenly; both ends are among them. */
export function evenly<T>(items: readonly T[], most: number): T[] {
  if (items.length <= most) return [...items];
  const at = (i: number) => nearestEven((i * (items.length - 1)) / (most - 1));
  return Array.from({ length: most }, (_, i) => items[at(i)] as T);
}
