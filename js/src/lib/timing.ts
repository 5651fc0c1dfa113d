// The time left in a run.

import type { Reel } from "./view";

/** The seconds that the remaining steps will take, at the pace so far. */
export function secondsLeft({ frames, header }: Reel): number {
  const last = frames.at(-1);
  const times = frames.map((frame) => frame.seconds).filter((seconds) => seconds !== null);
  if (!last || !header || times.length < 2) return Number.NaN;
  // The first step often waits for memory or a compiler.
  const later = times.slice(1);
  const mean = later.reduce((sum, seconds) => sum + seconds, 0) / later.length;
  return Math.max(header.steps - 1 - last.index, 0) * mean;
}
