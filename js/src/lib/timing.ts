// How long the steps of a run take, and those to come.

import type { Reel } from "./view";

/** The seconds that the steps still to come will take, if they take as long as those before. */
export function secondsLeft({ frames, header }: Reel): number {
  const last = frames.at(-1);
  const times = frames.map((frame) => frame.seconds).filter((seconds) => seconds !== null);
  if (last === undefined || header === undefined || times.length < 2) return Number.NaN;
  // The first step often waits for memory or a compiler.
  const later = times.slice(1);
  const mean = later.reduce((sum, seconds) => sum + seconds, 0) / later.length;
  return Math.max(header.steps - 1 - last.index, 0) * mean;
}
