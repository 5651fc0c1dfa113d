// Frames: one step of a run as the kernel packs it, little endian.
//
// uint32 n, n bytes of JSON padded with spaces so that 4 + n is a multiple of 4, then the parts in
// the order of `parts`, each padded with zeros to a multiple of 4. Latents are float16
// [B, C, h, w]; attention is, for each layer, float32 scales [B, T] and uint8 [B, T, h, w].

import { LIMITS, PARTS } from "./contract";
import { bytes } from "./frames";
import { halves } from "./half";
import type { Head, Reel } from "./view";

export type Part = Exclude<(typeof PARTS)[number], "attention">;

/** One layer's attention for one picture: probability = byte / 255 * scale of its token. */
export interface Attention {
  scales: Float32Array; // [T]
  bytes: Uint8Array; // [T, h, w]
  h: number;
  w: number;
}

/** One step. Latents are turned into floats when they are first asked for, then kept. */
export interface Frame {
  readonly index: number; // of the step, from 0
  readonly sigma: number;
  readonly sigma_next: number;
  readonly seconds: number | null; // the step took
  readonly size: readonly [number, number, number, number]; // [B, C, h, w]
  readonly grids: readonly (readonly [number, number])[]; // [h, w] of each layer's attention
  readonly tokens: number; // columns of the attention, 0 without
  readonly guided: boolean; // has both halves of guidance
  readonly x: Float32Array | undefined; // noisy, at unit variance
  readonly denoised: Float32Array | undefined; // clean, as the run predicted it
  readonly uncond: Float32Array | undefined; // clean, without the prompt
  readonly difference: Float32Array | undefined; // clean with the prompt less without
  attention(layer: number, picture: number): Attention | undefined;
}

/** What a frame says of itself, checked. */
interface Meta {
  index: number;
  sigma: number;
  sigma_next: number;
  seconds: number | null;
  size: [number, number, number, number];
  parts: string[];
  grids: [number, number][];
  tokens: number;
}

const padded = (length: number) => Math.ceil(length / 4) * 4;
const isNumber = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value);
const isWhole = (value: unknown, most: number, least = 1): value is number =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
const areWhole = <T extends number[]>(values: unknown, most: T): values is T =>
  Array.isArray(values) &&
  values.length === most.length &&
  values.every((value, i) => isWhole(value, most[i] as number));

/** The JSON at the beginning, and where it ends. */
function text(data: Uint8Array): { value: Record<string, unknown>; end: number } | undefined {
  if (data.length < 4) return undefined;
  const end = 4 + new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true);
  if (end > LIMITS.json || end > data.length || end % 4 !== 0) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(data.subarray(4, end)));
    const isRecord = typeof value === "object" && value !== null;
    return isRecord ? { value: value as Record<string, unknown>, end } : undefined;
  } catch {
    return undefined;
  }
}

function checked(value: Record<string, unknown>): Meta | undefined {
  const { index, sigma, sigma_next, seconds, size, tokens } = value;
  const { batch, channels, side } = LIMITS;
  const limits: Meta["size"] = [batch, channels, side, side];
  if (!isWhole(index, Number.MAX_SAFE_INTEGER, 0) || !areWhole(size, limits)) return undefined;
  if (!isNumber(sigma) || !isNumber(sigma_next)) return undefined;

  const parts = Array.isArray(value.parts) ? value.parts.map(String) : [];
  if (parts.join() !== PARTS.filter((part) => parts.includes(part)).join()) return undefined;
  if (parts.includes("uncond") !== parts.includes("difference")) return undefined;

  const time = isNumber(seconds) ? seconds : null;
  const latents = { index, sigma, sigma_next, seconds: time, size, parts };
  if (!parts.includes("attention")) return { ...latents, grids: [], tokens: 0 };
  const grids = value.grids as [number, number][];
  if (!Array.isArray(grids) || grids.length > LIMITS.layers) return undefined;
  if (!grids.every((grid) => areWhole(grid, [side, side]))) return undefined;
  return isWhole(tokens, LIMITS.tokens) ? { ...latents, grids, tokens } : undefined;
}

class Packed implements Frame {
  readonly index: number;
  readonly sigma: number;
  readonly sigma_next: number;
  readonly seconds: number | null;
  readonly size: Meta["size"];
  readonly grids: Meta["grids"];
  readonly tokens: number;
  readonly end: number; // of the last part
  readonly #data: Uint8Array;
  readonly #starts = new Map<string, number>(); // of each part of latents
  readonly #layers: number[] = []; // where the attention of each begins
  readonly #floats = new Map<Part, Float32Array>();

  constructor(data: Uint8Array, meta: Meta, start: number) {
    this.#data = data;
    this.index = meta.index;
    this.sigma = meta.sigma;
    this.sigma_next = meta.sigma_next;
    this.seconds = meta.seconds;
    this.size = meta.size;
    this.grids = meta.grids;
    this.tokens = meta.tokens;
    let at = start;
    for (const part of meta.parts) {
      if (part === "attention") continue;
      this.#starts.set(part, at);
      at += padded(2 * this.#count);
    }
    for (const [h, w] of meta.grids) {
      this.#layers.push(at);
      at += this.size[0] * this.tokens * 4 + padded(this.size[0] * this.tokens * h * w);
    }
    this.end = at;
  }

  get #count() {
    return this.size.reduce((product, side) => product * side, 1);
  }

  get guided() {
    return this.#starts.has("difference");
  }

  get x() {
    return this.#latents("x");
  }

  get denoised() {
    return this.#latents("denoised");
  }

  get uncond() {
    return this.#latents("uncond");
  }

  get difference() {
    return this.#latents("difference");
  }

  #latents(part: Part) {
    const start = this.#starts.get(part);
    if (start === undefined) return undefined;
    let floats = this.#floats.get(part);
    if (floats === undefined) {
      floats = halves(this.#data.subarray(start, start + 2 * this.#count));
      this.#floats.set(part, floats);
    }
    return floats;
  }

  attention(layer: number, picture: number): Attention | undefined {
    const [batch, T] = [this.size[0], this.tokens];
    const [start, grid] = [this.#layers[layer], this.grids[layer]];
    if (start === undefined || grid === undefined || !isWhole(picture, batch - 1, 0)) {
      return undefined;
    }
    const [h, w] = grid;
    const { buffer, byteOffset } = this.#data;
    const numbers = new DataView(buffer, byteOffset + start + picture * T * 4, T * 4);
    // One by one: the bytes may begin anywhere, which a view as floats must not.
    const scales = Float32Array.from({ length: T }, (_, t) => numbers.getFloat32(4 * t, true));
    const from = start + batch * T * 4 + picture * T * h * w;
    return { scales, bytes: this.#data.subarray(from, from + T * h * w), h, w };
  }
}

/** The step in these bytes, or undefined where anything in them disagrees. */
export function unpack(value: unknown): Frame | undefined {
  const data = bytes(value);
  const found = text(data);
  const meta = found && checked(found.value);
  if (found === undefined || meta === undefined) return undefined;
  const frame = new Packed(data, meta, found.end);
  return frame.end === data.length ? frame : undefined;
}

/** The frames of a film: one after another, each after its length as uint32. */
export function unfilm(value: unknown): Frame[] {
  const data = bytes(value);
  const numbers = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const frames: Frame[] = [];
  for (let at = 0; at + 4 <= data.length; ) {
    const length = numbers.getUint32(at, true);
    const frame = unpack(data.subarray(at + 4, at + 4 + length));
    if (frame !== undefined) frames.push(frame);
    at += 4 + length;
  }
  return frames;
}

/** The kept frame nearest to a step, the earlier of two as near; -1: the newest. */
export function nearest(frames: readonly Frame[], step: number): Frame | undefined {
  if (step < 0) return frames.at(-1);
  let best: Frame | undefined;
  for (const frame of frames) {
    if (best === undefined || Math.abs(frame.index - step) < Math.abs(best.index - step)) {
      best = frame;
    }
  }
  return best;
}

/** A finished reel. */
export function reelOf(head: Head | undefined, frames: readonly Frame[]): Reel {
  return { head, frames, version: 1, at: (step) => nearest(frames, step) };
}
