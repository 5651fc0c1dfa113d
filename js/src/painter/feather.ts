// Soft edges.

import type { Plane } from "./plane";

/**
 * Blurs the mask, so that its edges reach about `radius` pixels in and out: three box blurs each
 * way, nearly a Gaussian with half the radius as its standard deviation (Wells, "Efficient synthesis
 * of Gaussian filters by cascaded uniform filters", 1986). Beyond its edges, the mask goes on.
 */
export function feather({ width, height, data }: Plane, radius: number) {
  // Three boxes of width w have the variance (w² - 1) / 4; the widths differ to come close to it.
  const variance = (radius / 2) ** 2;
  const ideal = Math.sqrt(4 * variance + 1);
  let low = Math.floor(ideal);
  if (low % 2 === 0) low--;
  const wider = Math.round((12 * variance - 3 * low * low - 12 * low - 9) / (-4 * low - 4));
  for (let pass = 0; pass < 3; pass++) {
    const half = ((pass < wider ? low : low + 2) - 1) / 2;
    for (let y = 0; y < height; y++) blur(data, y * width, 1, width, half);
    for (let x = 0; x < width; x++) blur(data, x, width, height, half);
  }
}

/** Averages a row or a column of `count` levels, `step` apart, over `half` on both sides. */
function blur(data: Uint8Array, from: number, step: number, count: number, half: number) {
  if (half < 1) return;
  const line = new Uint8Array(count);
  for (let i = 0; i < count; i++) line[i] = data[from + i * step] as number;
  const at = (i: number) => line[i < 0 ? 0 : i < count ? i : count - 1] as number;
  const size = 2 * half + 1;
  let sum = 0;
  for (let i = -half; i <= half; i++) sum += at(i);
  for (let i = 0; i < count; i++) {
    data[from + i * step] = Math.round(sum / size);
    sum += at(i + half + 1) - at(i - half);
  }
}
