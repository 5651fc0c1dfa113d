// The difference between two runs at the step on show.

import { bytes } from "../lib/bytes";
import { h, write } from "../lib/dom";
import { change, clean, paint, preview } from "../lib/latents";
import type { Frame } from "../lib/reel";
import type { Picture, Show } from "../lib/show";
import { guidanceOf, imageOf, type Panel, type What } from "../lib/view";
import { onStage, setShape, shapeOf } from "./screen";

const GREY = 127.5;

/** The second run's image minus the first's, around grey; empty if their sizes differ. */
export function difference(first: Show, second: Show): Panel {
  const canvas = h("canvas", { class: "sdw-c-map", role: "img", "aria-label": "difference" });
  const words = h("p", "sdw-c-note");
  const element = h(
    "figure",
    "sdw-c-difference",
    h("div", "sdw-v-stage", h("div", "sdw-v-picture", canvas)),
    h("figcaption", {}, h("p", "sdw-c-where", "difference"), words),
  );
  let asked = 0; // decoding takes a while, and only the last request is shown

  const say = (found: string | undefined) => {
    element.dataset.found = String(found !== undefined);
    write(words, found ?? "The two differ in size.");
  };
  const update = (what: What) => {
    if (what === "hover") return;
    asked += 1;
    setShape(element, shapeOf(first));
    const names = [onStage(first), onStage(second)];
    if (names.every((name) => name === "picture")) {
      const now = asked;
      const pictures = [first, second].map((one) => one.pictures[imageOf(one)]);
      Promise.all(pictures.map(pixels)).then(([a, b]) => {
        if (now === asked) say(a && b && paintPixels(canvas, a, b));
      });
    } else say(paintLatents(canvas, first, second));
  };
  update("data");
  return { element, update };
}

/** The caption: the mean difference as a share of the range of colours, and the gain drawn. */
function explained(share: number, gain: number): string {
  const stronger = gain > 1 ? `, shown ${gain} × as strong` : "";
  return `right minus left${stronger}; grey is equal. Mean ${(100 * share).toFixed(1)}\u00a0%.`;
}

function paintLatents(canvas: HTMLCanvasElement, first: Show, second: Show) {
  const [a, b] = [first, second].map((one) => one.reel.at(one.selection.step));
  if (a === undefined || b === undefined) return undefined;
  const of = (frame: Frame) =>
    first.selection.view === "noisy" ? frame.x : clean(frame, guidanceOf(first));
  const [before, after] = [of(a), of(b)];
  const [channels, h_, w_] = a.size.slice(1);
  const same = [channels, h_, w_].join() === b.size.slice(1).join();
  if (before === undefined || after === undefined || !same) return undefined;
  const cut = (values: Float32Array, which: number) => {
    const each = (channels as number) * (h_ as number) * (w_ as number);
    return values.subarray(which * each, (which + 1) * each);
  };
  const size = [1, channels, h_, w_] as [number, number, number, number];
  const factors = first.reel.header?.factors ?? [];
  const plane = change(cut(after, imageOf(second)), cut(before, imageOf(first)), size, 0, factors);
  paint(canvas, plane);
  const [left, right] = [before, after].map((values, i) =>
    preview(values, (i === 0 ? a : b).size, imageOf(i === 0 ? first : second), factors),
  );
  return left && right && explained(apart(left.pixels, right.pixels), plane.gain);
}

function paintPixels(canvas: HTMLCanvasElement, a: ImageData, b: ImageData) {
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
function apart(some: ArrayLike<number>, others: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < some.length; i++) {
    if (i % 4 !== 3) sum += Math.abs((some[i] as number) - (others[i] as number));
  }
  return sum / 255 / Math.max((some.length * 3) / 4, 1);
}

const decoded = new WeakMap<Picture, Promise<ImageData | undefined>>();

/** A file's pixels; undefined if it cannot be read. */
function pixels(picture: Picture | undefined): Promise<ImageData | undefined> {
  if (picture === undefined) return Promise.resolve(undefined);
  let found = decoded.get(picture);
  if (found === undefined) {
    found = decode(picture).catch(() => undefined);
    decoded.set(picture, found);
  }
  return found;
}

async function decode({ data, type }: Picture): Promise<ImageData | undefined> {
  const image = await createImageBitmap(new Blob([new Uint8Array(bytes(data))], { type }));
  const canvas = h("canvas", { width: image.width, height: image.height });
  const context = canvas.getContext("2d");
  context?.drawImage(image, 0, 0);
  return context?.getImageData(0, 0, image.width, image.height);
}
