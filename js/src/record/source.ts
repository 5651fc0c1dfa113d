// Sources in memory, and reading several parts of a source at once.

import type { Source } from "../lib/source";

/** Bytes in memory. */
export function bytesSource(data: Uint8Array): Source {
  return { size: data.length, read: async (from, to) => data.subarray(from, to) };
}

/** A source whose first bytes are here already. */
export const keeping = (source: Source, start: Uint8Array): Source => ({
  size: source.size,
  read: async (from, to, signal) =>
    to <= start.length ? start.subarray(from, to) : source.read(from, to, signal),
});

/** Reads several ranges, those that lie close together at once; returns the bytes of each. */
export async function readRanges(
  source: Source,
  ranges: readonly { from: number; to: number }[],
  signal?: AbortSignal,
  gap = 65_536,
): Promise<Uint8Array[]> {
  const order = ranges.map((_, i) => i);
  order.sort((a, b) => (ranges[a]?.from ?? 0) - (ranges[b]?.from ?? 0));
  const merged: { from: number; to: number; held: number[] }[] = [];
  for (const i of order) {
    const { from, to } = ranges[i] as { from: number; to: number };
    const last = merged.at(-1);
    if (last !== undefined && from - last.to <= gap) {
      last.to = Math.max(last.to, to);
      last.held.push(i);
    } else {
      merged.push({ from, to, held: [i] });
    }
  }
  const found: Uint8Array[] = [];
  const take = async ({ from, to, held }: (typeof merged)[number]) => {
    const data = to > from ? await source.read(from, to, signal) : new Uint8Array();
    for (const i of held) {
      const { from: start, to: end } = ranges[i] as { from: number; to: number };
      found[i] = data.subarray(start - from, end - from);
    }
  };
  await Promise.all(merged.map(take));
  return found;
}
