// Frames: one step of a run as the kernel packs it, little endian.
//
// uint32 n, n bytes of JSON padded with spaces so that 4 + n is a multiple of 4, then the parts in
// the order of `parts`, each padded with zeros to a multiple of 4. Latents are float16
// [B, C, h, w]; attention is, for each layer, float32 scales [B, T] and uint8 [B, T, h, w].

import { bytes } from "./frames";
import { halves } from "./half";
import type { Head, Reel } from "./view";

export type Part = "x" | "denoised" | "uncond" | "difference";

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

const ORDER = ["x", "denoised", "uncond", "difference", "attention"] as const;
const LARGEST = { json: 1 << 16, batch: 256, channels: 64, side: 4096, tokens: 4096, layers: 256 };

const padded = (length: number) => Math.ceil(length / 4) * 4;
const isWhole = (value: unknown, most: number): value is number =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) <= most;
const isNumber = (value: unknown): value is number =>
  typeof value === "number" && Number.isFinite(value);

function meta(data: Uint8Array): Record<string, unknown> | undefined {
  if (data.length < 8) return undefined;
  const length = new DataView(data.buffer, data.byteOffset, 4).getUint32(0, true);
  if (length > LARGEST.json || 4 + length > data.length || (4 + length) % 4 !== 0) return undefined;
  try {
    const value: unknown = JSON.parse(new TextDecoder().decode(data.subarray(4, 4 + length)));
    if (typeof value !== "object" || value === null) return undefined;
    return { ...value, start: 4 + length };
  } catch {
    return undefined;
  }
}

/** The step in these bytes, or undefined where anything in them disagrees. */
export function unpack(value: unknown): Frame | undefined {
  const data = bytes(value);
  const m = meta(data);
  if (m === undefined || !Number.isInteger(m.index) || (m.index as number) < 0) return undefined;
  if (!isNumber(m.sigma) || !isNumber(m.sigma_next)) return undefined;

  if (!Array.isArray(m.size) || m.size.length !== 4) return undefined;
  const limits = [LARGEST.batch, LARGEST.channels, LARGEST.side, LARGEST.side];
  if (!m.size.every((side, i) => isWhole(side, limits[i] as number))) return undefined;
  const size = m.size as [number, number, number, number];
  const [batch, channels, height, width] = size;

  const parts = Array.isArray(m.parts) ? m.parts.map(String) : [];
  if (parts.join() !== ORDER.filter((part) => parts.includes(part)).join()) return undefined;
  if (parts.includes("uncond") !== parts.includes("difference")) return undefined;

  const withAttention = parts.includes("attention");
  const grids = withAttention && Array.isArray(m.grids) ? (m.grids as [number, number][]) : [];
  const isGrid = (grid: unknown) =>
    Array.isArray(grid) && grid.length === 2 && grid.every((side) => isWhole(side, LARGEST.side));
  if (grids.length > LARGEST.layers || !grids.every(isGrid)) return undefined;
  const tokens = withAttention ? m.tokens : 0;
  if (withAttention && !isWhole(tokens, LARGEST.tokens)) return undefined;
  const T = tokens as number;

  // Where each part begins.
  let end = m.start as number;
  const starts = new Map<string, number>();
  const latents = batch * channels * height * width;
  for (const part of parts) {
    if (part === "attention") continue;
    starts.set(part, end);
    end += padded(2 * latents);
  }
  const layers = grids.map(([h, w]) => {
    const start = end;
    end += 4 * batch * T + padded(batch * T * h * w);
    return { start, h, w };
  });
  if (end !== data.length) return undefined;

  const known = new Map<Part, Float32Array>();
  const read = (part: Part) => {
    const start = starts.get(part);
    if (start === undefined) return undefined;
    let values = known.get(part);
    if (values === undefined) {
      values = halves(data.subarray(start, start + 2 * latents));
      known.set(part, values);
    }
    return values;
  };

  return {
    index: m.index as number,
    sigma: m.sigma,
    sigma_next: m.sigma_next,
    seconds: isNumber(m.seconds) ? m.seconds : null,
    size,
    grids,
    tokens: T,
    guided: starts.has("difference"),
    get x() {
      return read("x");
    },
    get denoised() {
      return read("denoised");
    },
    get uncond() {
      return read("uncond");
    },
    get difference() {
      return read("difference");
    },
    attention(layer, picture) {
      const of = layers[layer];
      if (of === undefined || picture < 0 || picture >= batch) return undefined;
      const { start, h, w } = of;
      const scales = new Float32Array(T); // the bytes may begin anywhere, a view could not
      const numbers = new DataView(data.buffer, data.byteOffset + start + 4 * T * picture, 4 * T);
      for (let t = 0; t < T; t++) scales[t] = numbers.getFloat32(4 * t, true);
      const from = start + 4 * batch * T + picture * T * h * w;
      return { scales, bytes: data.subarray(from, from + T * h * w), h, w };
    },
  };
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
