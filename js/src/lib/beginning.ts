// Where a run from an image begins: at which step, and what the image looks like with its noise.

import { BEGINNING } from "./contract";

const { scale: SCALE, zero: ZERO } = BEGINNING;

/** The step at which a run begins, counted from 0, and that in words; "" where there are no steps. */
export function begins(steps: number, strength: number, levels: readonly number[]) {
  const left = Math.floor(steps * strength + 0.5);
  const at = steps - left;
  if (steps < 1) return { at: -1, words: "" };
  if (left === 0) return { at: -1, words: `none of ${steps} steps is left` };
  const level = levels.length === steps + 1 ? levels[at] : undefined;
  const sigma = level === undefined ? "" : `, sigma ${Number(level.toPrecision(3))}`;
  return { at, words: `from step ${at + 1} of ${steps}${sigma}` };
}

/**
 * RGBA of an image with noise at a level: previews are linear in latents, which are scaled to unit
 * variance. `clean` and `noise` [n, 3] are the previews of both, without their constant `base`.
 */
export function picture(
  clean: Uint8Array,
  noise: Uint8Array,
  base: readonly number[],
  sigma: number,
): Uint8ClampedArray<ArrayBuffer> {
  const count = clean.length / 3;
  const made = new Uint8ClampedArray(4 * count).fill(255);
  const one = SCALE / Math.sqrt(1 + sigma ** 2);
  for (let i = 0; i < clean.length; i++) {
    const latents = (clean[i] as number) - ZERO + sigma * ((noise[i] as number) - ZERO);
    const value = one * latents + (base[i % 3] ?? 0);
    made[4 * Math.floor(i / 3) + (i % 3)] = (value + 1) * 127.5;
  }
  return made;
}
