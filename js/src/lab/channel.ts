// Channels of latents as images and numbers; pure but for the canvas at the end.

import type { Binary } from "../lib/bytes";
import { bytes } from "../lib/bytes";
import { coloured, rgba } from "../lib/colours";
import { halves } from "../lib/half";
import { diverging, extent, type Plane, paint } from "../lib/latents";

/** Latents [C, h, w] as numbers. */
export interface Grid {
  values: Float32Array;
  channels: number;
  width: number;
  height: number;
}

/** Latents from a trait's bytes; undefined if the bytes do not have that size. */
export function gridOf(
  data: Binary | null | undefined,
  { channels, width, height }: { channels: number; width: number; height: number },
): Grid | undefined {
  if (data === null || data === undefined) return undefined;
  const values = halves(bytes(data));
  return values.length === channels * width * height
    ? { values, channels, width, height }
    : undefined;
}

/** The numbers of a channel [h, w]; -1: their mean over all channels. */
export function numbers({ values, channels, width, height }: Grid, which: number): Float32Array {
  const cells = width * height;
  if (which >= 0) return values.subarray(which * cells, (which + 1) * cells);
  return Float32Array.from({ length: cells }, (_, i) => {
    let sum = 0;
    for (let c = 0; c < channels; c++) sum += values[c * cells + i] as number;
    return sum / channels;
  });
}

/** The end of a scale: a round number above 99 of 100 values, so that a few large ones hide nothing. */
export function most(values: Float32Array): number {
  const sizes = values.map((value) => Math.abs(value) || 0).sort();
  return extent(sizes.subarray(0, Math.ceil(0.99 * sizes.length)), [1, 1, 1, sizes.length], 0);
}

/** A channel, or the mean of all (-1), around 0: cool to -end, grey, warm to +end. */
export function plane(grid: Grid, which: number, end: number): Plane {
  const size: [number, number, number, number] = [1, 1, grid.height, grid.width];
  return diverging(numbers(grid, which), size, 0, 0, end);
}

/** A channel of numbers that are never negative: dark at 0, bright at `end`. */
export function amounts(grid: Grid, which: number, end: number): Plane {
  const shares = numbers(grid, which).map((value) => value / end);
  return { pixels: coloured(shares, "magma"), w: grid.width, h: grid.height };
}

/** Mean, standard deviation and ends of a channel. */
export function summary(grid: Grid, which: number) {
  const values = numbers(grid, which);
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  const square = values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / values.length;
  const [min, max] = [Math.min(...values), Math.max(...values)];
  return { mean, std: Math.sqrt(square), min, max };
}

/** How many values of a channel fall into each of `bins` equal steps from `start` to `end`. */
export function histogram(grid: Grid, which: number, end: number, start = -end, bins = 24) {
  const counts = new Array<number>(bins).fill(0);
  for (const value of numbers(grid, which)) {
    if (Number.isNaN(value)) continue;
    const bin = Math.floor(((value - start) / (end - start)) * bins);
    const kept = Math.min(Math.max(bin, 0), bins - 1);
    counts[kept] = (counts[kept] as number) + 1;
  }
  return counts;
}

/** The outline of a histogram as a path, `wide` by `high`, its highest step at the top. */
export function steps(counts: readonly number[], wide: number, high: number): string {
  const largest = Math.max(...counts, 1);
  const step = wide / counts.length;
  const tops = counts.map((count, i) => {
    const y = (high * (1 - count / largest)).toFixed(1);
    return `L${(i * step).toFixed(1)} ${y}L${((i + 1) * step).toFixed(1)} ${y}`;
  });
  return `M0 ${high}${tops.join("")}L${wide} ${high}Z`;
}

/** Puts RGB bytes on a canvas; CSS scales it up. */
export function paintRgb(canvas: HTMLCanvasElement, rgb: Binary, width: number, height: number) {
  const data = bytes(rgb);
  if (data.length !== 3 * width * height) return;
  paint(canvas, { pixels: rgba(data), w: width, h: height });
}

/** The cell under the pointer; undefined outside the canvas. */
export function cellAt(event: MouseEvent, canvas: HTMLElement, width: number, height: number) {
  const box = canvas.getBoundingClientRect();
  const x = Math.floor(((event.clientX - box.left) / box.width) * width);
  const y = Math.floor(((event.clientY - box.top) / box.height) * height);
  return x >= 0 && y >= 0 && x < width && y < height ? { x, y } : undefined;
}

/** The cell an arrow key leads to; undefined for other keys. */
export function cellAfter(
  key: string,
  from: { x: number; y: number } | undefined,
  width: number,
  height: number,
) {
  const move = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[key];
  if (move === undefined) return undefined;
  const { x, y } = from ?? { x: Math.floor(width / 2), y: Math.floor(height / 2) };
  const [dx = 0, dy = 0] = move;
  return {
    x: Math.min(Math.max(x + dx, 0), width - 1),
    y: Math.min(Math.max(y + dy, 0), height - 1),
  };
}
