// Frames as they come from the kernel: raw RGB bytes, at most about 100 pixels on a side.

/** What a front end may hand over for a binary value: Jupyter and VS Code views, Colab arrays. */
export type Binary = DataView | Uint8Array | ArrayBuffer;

export interface Frame {
  run: number;
  step: number; // finished so far, from 1
  steps: number;
  sigma: number;
  seconds: number; // a step, on average
  left: number; // seconds to the end of the run, estimated
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
  const number = (name: string) => (typeof m[name] === "number" ? (m[name] as number) : 0);
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
    seconds: number("seconds"),
    left: number("left"),
    width,
    height,
    blank: [Number(blank[0]) || 0, Number(blank[1]) || 0],
    ...pictures,
  };
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
 * Shows things one to a screen refresh, in order, so that steps that arrive together are all seen.
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
    this.#waiting.shift()?.();
    if (this.#waiting.length > 0) this.#timer = requestAnimationFrame(this.#next);
  };
}
