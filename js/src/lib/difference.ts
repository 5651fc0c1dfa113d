// The difference between two images, drawn around grey.

import { bytes } from "./bytes";
import { h } from "./dom";
import { paint } from "./latents";
import type { Picture } from "./show";

const GREY = 127.5;

type File = Pick<Picture, "data" | "type">;

/** The caption: the mean difference as a share of the range of colours, and the gain drawn. */
export function explained(share: number, gain: number): string {
  const stronger = gain > 1 ? `, shown ${gain} × as strong` : "";
  return `right minus left${stronger}; grey is equal. Mean ${(100 * share).toFixed(1)}\u00a0%.`;
}

/** Draws the second image minus the first; returns the caption, undefined if the sizes differ. */
export function paintDifference(canvas: HTMLCanvasElement, a: ImageData, b: ImageData) {
  if (a.width !== b.width || a.height !== b.height) return undefined;
  const out = new Uint8ClampedArray(a.data.length);
  for (let i = 0; i < out.length; i++) {
    const shift = ((b.data[i] as number) - (a.data[i] as number)) / 2;
    out[i] = i % 4 === 3 ? 255 : GREY + shift;
  }
  paint(canvas, { pixels: out, w: a.width, h: a.height });
  return explained(apart(a.data, b.data), 1);
}

/** The mean difference between two images' colours, 0..1. */
export function apart(some: ArrayLike<number>, others: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < some.length; i++) {
    if (i % 4 !== 3) sum += Math.abs((some[i] as number) - (others[i] as number));
  }
  return sum / 255 / Math.max((some.length * 3) / 4, 1);
}

const decoded = new WeakMap<File, Promise<ImageData | undefined>>();

/** A file's pixels; undefined if it cannot be read. */
export function pixels(picture: File | undefined): Promise<ImageData | undefined> {
  if (!picture) return Promise.resolve(undefined);
  let found = decoded.get(picture);
  if (!found) {
    found = decode(picture).catch(() => undefined);
    decoded.set(picture, found);
  }
  return found;
}

async function decode({ data, type }: File): Promise<ImageData | undefined> {
  const image = await createImageBitmap(new Blob([new Uint8Array(bytes(data))], { type }));
  const canvas = h("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context?.drawImage(image, 0, 0);
  return context?.getImageData(0, 0, image.width, image.height);
}
