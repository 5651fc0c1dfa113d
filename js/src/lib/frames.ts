// Frames as they come from the kernel: raw RGB bytes, at most about 100 pixels on a side.

/** What a front end may hand over for a binary value: Jupyter and VS Code views, Colab arrays. */
export type Binary = DataView | Uint8Array | ArrayBuffer;

export interface Frame {
  run: number;
  step: number; // finished so far, from 1
  steps: number;
  sigma: number;
  seconds: number; // a step, on average; NaN while it is not known
  left: number; // seconds to the end of the run, estimated; NaN likewise
  width: number;
  height: number;
  blank: [number, number]; // size of the empty corner at the lower right, in a batch's grid
  noisy: Uint8Array; // [height, width, 3]
  clean: Uint8Array;
}

/** The same bytes as a Uint8Array, whatever kind of view they came in. */
export function bytes(value: unknown): Uint8Array {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  return new Uint8Array();
}

/** The frame in `meta` with its two pictures, or undefined where sizes and bytes disagree. */
export function frame(meta: unknown, noisy: unknown, clean: unknown): Frame | undefined {
  if (typeof meta !== "object" || meta === null) return undefined;
  const m = meta as Record<string, unknown>;
  const number = (name: string, otherwise = 0) =>
    typeof m[name] === "number" ? (m[name] as number) : otherwise;
  const [width, height] = [number("width"), number("height")];
  const pictures = { noisy: bytes(noisy), clean: bytes(clean) };
  const size = width * height * 3;
  if (size === 0 || pictures.noisy.length !== size || pictures.clean.length !== size) {
    return undefined;
  }
  const blank = Array.isArray(m.blank) ? m.blank : [0, 0];
  return {
    run: number("run"),
    step: number("step"),
    steps: number("steps"),
    sigma: number("sigma"),
    seconds: number("seconds", Number.NaN),
    left: number("left", Number.NaN),
    width,
    height,
    blank: [Number(blank[0]) || 0, Number(blank[1]) || 0],
    ...pictures,
  };
}

/** The bytes of these frames' pictures. */
export function size(frames: Frame[]): number {
  return frames.reduce((sum, one) => sum + one.noisy.length + one.clean.length, 0);
}

/** Takes frames out until `most` bytes are left: those closest to their neighbours, never an end. */
export function thin(frames: Frame[], most: number) {
  let left = size(frames);
  while (left > most && frames.length > 2) {
    let [closest, smallest] = [1, Number.POSITIVE_INFINITY];
    for (let i = 1; i < frames.length - 1; i++) {
      const gap = (frames[i + 1] as Frame).step - (frames[i - 1] as Frame).step;
      if (gap < smallest) [closest, smallest] = [i, gap];
    }
    left -= size(frames.splice(closest, 1));
  }
}

/** RGB to RGBA, opaque: what ImageData wants. */
export function rgba(rgb: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const pixels = Math.floor(rgb.length / 3);
  const out = new Uint8ClampedArray(pixels * 4);
  for (let i = 0, from = 0, to = 0; i < pixels; i++) {
    out[to++] = rgb[from++] as number;
    out[to++] = rgb[from++] as number;
    out[to++] = rgb[from++] as number;
    out[to++] = 255;
  }
  return out;
}

/** Draws one of a frame's pictures at its own size; CSS scales it up. */
export function paint(canvas: HTMLCanvasElement, of: Frame, which: "noisy" | "clean") {
  const { width, height } = of;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
  const context = canvas.getContext("2d");
  const [wide, high] = of.blank;
  context?.putImageData(new ImageData(rgba(of[which]), width, height), 0, 0);
  context?.clearRect(width - wide, height - high, wide, high);
}

/** Makes a canvas empty. */
export function wipe(canvas: HTMLCanvasElement) {
  canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
}

/**
 * Shows things one to a screen refresh, in order, so that steps that arrive together are all seen;
 * several where many wait, so that what the kernel sends faster than that is not late at the end.
 * In a hidden page, where nothing is refreshed, they are shown at once.
 */
export class Player {
  #waiting: (() => void)[] = [];
  #timer: number | undefined;

  push(show: () => void) {
    this.#waiting.push(show);
    if (document.hidden) this.flush();
    else this.#timer ??= requestAnimationFrame(this.#next);
  }

  /** Show all that waits, now. */
  flush() {
    this.stop();
    for (const show of this.#waiting.splice(0)) show();
  }

  /** Forget all that waits. */
  clear() {
    this.stop();
    this.#waiting.length = 0;
  }

  stop() {
    if (this.#timer !== undefined) cancelAnimationFrame(this.#timer);
    this.#timer = undefined;
  }

  #next = () => {
    this.#timer = undefined;
    for (const show of this.#waiting.splice(0, Math.ceil(this.#waiting.length / 10))) show();
    if (this.#waiting.length > 0) this.#timer = requestAnimationFrame(this.#next);
  };
}
