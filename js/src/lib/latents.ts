// Latents to colours. Red, green and blue are nearly linear in latents, so one small matrix product
// does it, the same as the kernel's preview.

import { clamp, times } from "./numbers";
import type { Frame } from "./reel";

/** Rows of red, green, blue in [-1, 1]: one for each channel, then the constant. */
export type Factors = readonly (readonly [number, number, number])[];

export interface Plane {
  pixels: Uint8ClampedArray<ArrayBuffer>; // RGBA [h, w, 4]
  w: number;
  h: number;
}

type Size = Frame["size"];

const GREY = 127.5;
const BT601 = [0.299, 0.587, 0.114]; // weights of red, green and blue in luma
// The ends of the scale of signed values; its middle is grey.
const COOL = [41, 128, 246];
const WARM = [255, 156, 38];

/** The known factors if they fit that many channels; else factors that show the first three. */
export function factorsFor(channels: number, known: Factors): Factors {
  if (known.length === channels + 1) return known;
  return times(channels + 1, (c) => {
    return [0, 1, 2].map((colour) => (c === colour && c < channels ? 0.5 : 0)) as [
      number,
      number,
      number,
    ];
  });
}

/** The clean latents that this guidance scale would have predicted: uncond + scale * difference. */
export function guided(frame: Frame, scale: number): Float32Array | undefined {
  const { uncond, difference } = frame;
  if (!uncond || !difference) return undefined;
  return uncond.map((value, i) => value + scale * (difference[i] as number));
}

/** The clean latents of a step: the run's own, or with another guidance scale if possible. */
export function clean(frame: Frame, guidance: number | null): Float32Array | undefined {
  return (guidance === null ? undefined : guided(frame, guidance)) ?? frame.denoised;
}

/** RGB in [-1, 1] of one image's latents, [h, w, 3]; `one` is 0 for differences: no constant. */
function colours(latents: Float32Array, size: Size, picture: number, factors: Factors, one = 1) {
  const [, channels, h, w] = size;
  const from = picture * channels * h * w;
  const rows = factorsFor(channels, factors);
  const constant = rows[channels] as readonly [number, number, number];
  const out = new Float32Array(h * w * 3);
  for (let colour = 0; colour < 3; colour++) {
    const base = one * (constant[colour] as number);
    for (let i = 0; i < h * w; i++) {
      let sum = base;
      for (let c = 0; c < channels; c++) {
        sum +=
          (latents[from + c * h * w + i] as number) *
          ((rows[c] as readonly number[])[colour] as number);
      }
      out[i * 3 + colour] = sum;
    }
  }
  return out;
}

/** The preview of one of a batch's latents, at their own size; x at unit variance. */
export function preview(
  latents: Float32Array,
  size: Size,
  picture: number,
  factors: Factors,
): Plane {
  const rgb = colours(latents, size, picture, factors);
  // NaN counts as 0, as in the kernel.
  return opaque(size, (i, colour) => ((rgb[i * 3 + colour] || 0) + 1) * GREY);
}

/** The change from one step's latents to another's, around grey and amplified by `gain`. */
export function change(
  after: Float32Array,
  before: Float32Array,
  size: Size,
  picture: number,
  factors: Factors,
): Plane & { gain: number } {
  const difference = after.map((value, i) => value - (before[i] as number));
  const rgb = colours(difference, size, picture, factors, 0);
  const most = rgb.reduce((max, value) => Math.max(max, Math.abs(value)), 0);
  // Powers of two, so that it does not flicker between steps. The limit keeps noise small.
  const gain = most > 0 ? 2 ** clamp(Math.floor(-Math.log2(most)), 0, 5) : 1;
  const plane = opaque(size, (i, colour) => ((rgb[i * 3 + colour] as number) * gain + 1) * GREY);
  return { ...plane, gain };
}

/** Where these latents make an image brighter (warm) or darker (cool); grey is no change. */
export function signed(
  latents: Float32Array,
  size: Size,
  picture: number,
  factors: Factors,
): Plane {
  const rgb = colours(latents, size, picture, factors, 0);
  const light = Float32Array.from({ length: rgb.length / 3 }, (_, i) =>
    BT601.reduce((sum, part, colour) => sum + part * (rgb[3 * i + colour] as number), 0),
  );
  const most = light.reduce((max, value) => Math.max(max, Math.abs(value)), 1e-6);
  return diverging(light, size, 0, 0, most);
}

/** One channel around 0, which is grey: cool down to -most, warm up to +most. */
export function diverging(
  latents: Float32Array,
  size: Size,
  picture: number,
  which: number,
  most: number,
): Plane {
  const [, channels, h, w] = size;
  const from = (picture * channels + which) * h * w;
  return opaque(size, (i, colour) => {
    const share = clamp((latents[from + i] as number) / most || 0, -1, 1);
    const end = (share < 0 ? COOL : WARM)[colour] as number;
    return GREY + Math.abs(share) * (end - GREY);
  });
}

/** The largest absolute value of one image's latents, rounded up to a round number. */
export function extent(latents: Float32Array, size: Size, picture: number): number {
  const each = size[1] * size[2] * size[3];
  const values = latents.subarray(picture * each, (picture + 1) * each);
  const most = values.reduce((max, value) => Math.max(max, Math.abs(value) || 0), 0);
  if (!(most > 0) || !Number.isFinite(most)) return 1;
  const power = 10 ** Math.floor(Math.log10(most));
  const nice = [1, 1.5, 2, 3, 4, 5, 6, 8].find((each) => each * power >= most) ?? 10;
  return Number((nice * power).toPrecision(2));
}

function opaque(size: Size, value: (pixel: number, colour: number) => number): Plane {
  const [, , h, w] = size;
  const pixels = new Uint8ClampedArray(h * w * 4);
  for (let i = 0; i < h * w; i++) {
    for (let colour = 0; colour < 3; colour++) pixels[4 * i + colour] = value(i, colour);
    pixels[4 * i + 3] = 255;
  }
  return { pixels, w, h };
}

/** Puts a plane on a canvas, which takes its size; CSS scales it up. */
export const paint = (canvas: HTMLCanvasElement, plane: Plane) => paintGrid(canvas, [plane]);

/** Puts planes of one size beside each other in a grid, as square as may be, in reading order. */
export function paintGrid(canvas: HTMLCanvasElement, planes: readonly Plane[]) {
  const columns = columnsFor(planes.length);
  const { w, h } = planes[0] ?? { w: 1, h: 1 };
  const [wide, high] = [columns * w, Math.ceil(planes.length / columns) * h];
  if (canvas.width !== wide) canvas.width = wide;
  if (canvas.height !== high) canvas.height = high;
  const context = canvas.getContext("2d");
  if (planes.length % columns > 0) wipe(canvas); // a corner stays empty
  planes.forEach(({ pixels }, i) => {
    const [x, y] = [(i % columns) * w, Math.floor(i / columns) * h];
    context?.putImageData(new ImageData(pixels, w, h), x, y);
  });
}

/** How many of so many images stand beside each other. */
export const columnsFor = (count: number) => Math.max(Math.ceil(Math.sqrt(count)), 1);

/** Makes a canvas empty. */
export function wipe(canvas: HTMLCanvasElement) {
  canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
}
