// Frames: one step of a run as the kernel packs it, little endian.
//
// uint32 n, n bytes of JSON padded with spaces so that 4 + n is a multiple of 4, then the parts in
// the order of `parts`, each padded with zeros to a multiple of 4. Latents are float16
// [B, C, h, w]; attention is, for each layer, float32 scales [B, T] and uint8 [B, T, h, w]; what
// controls add is the same for each level and, in place of tokens, each control.

import { bytes } from "./bytes";
import { LIMITS, PARTS } from "./contract";
import { halves } from "./half";
import { isNumber, isWhole } from "./numbers";
import type { Header, Reel } from "./view";

export type Part = Exclude<(typeof PARTS)[number], "attention" | "control">;

/** One layer's maps for one image, of attention or control: value = byte / 255 * scale. */
export interface Attention {
  scales: Float32Array; // [T]
  bytes: Uint8Array; // [T, h, w]
  h: number;
  w: number;
}

/** One step. Latents are converted to floats at the first access, then kept. */
export interface Frame {
  readonly index: number; // of the step, from 0
  readonly sigma: number;
  readonly sigma_next: number;
  readonly seconds: number | null; // the step took
  readonly size: readonly [number, number, number, number]; // [B, C, h, w]
  readonly grids: readonly (readonly [number, number])[]; // [h, w] of each layer's attention
  readonly tokens: number; // columns of the attention, 0 without
  readonly guided: boolean; // whether it has both halves of guidance
  readonly x: Float32Array | undefined; // noisy, at unit variance
  readonly denoised: Float32Array | undefined; // clean, as the run predicted it
  readonly uncond: Float32Array | undefined; // clean, without the prompt
  readonly difference: Float32Array | undefined; // clean with the prompt minus without
  attention(layer: number, picture: number): Attention | undefined;
  /** What the controls add at a level, a map for each control. */
  control(level: number, picture: number): Attention | undefined;
}

/** The checked header of a frame. */
interface Meta {
  index: number;
  sigma: number;
  sigma_next: number;
  seconds: number | null;
  size: [number, number, number, number];
  parts: string[];
  grids: [number, number][];
  tokens: number;
  levels: [number, number][]; // of what controls add
  controls: number;
}

const NONE = { grids: [], tokens: 0, levels: [], controls: 0 };

const padded = (length: number) => Math.ceil(length / 4) * 4;
const areWhole = <T extends number[]>(values: unknown, most: T): values is T =>
  Array.isArray(values) &&
  values.length === most.length &&
  values.every((value, i) => isWhole(value, most[i] as number));

/** The JSON at the start, and its end. */
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
  const { index, sigma, sigma_next, seconds, size } = value;
  const { batch, channels, side } = LIMITS;
  const limits: Meta["size"] = [batch, channels, side, side];
  if (!isWhole(index, Number.MAX_SAFE_INTEGER, 0) || !areWhole(size, limits)) return undefined;
  if (!isNumber(sigma) || !isNumber(sigma_next)) return undefined;

  const parts = Array.isArray(value.parts) ? value.parts.map(String) : [];
  if (parts.join() !== PARTS.filter((part) => parts.includes(part)).join()) return undefined;
  if (parts.includes("uncond") !== parts.includes("difference")) return undefined;

  const time = isNumber(seconds) ? seconds : null;
  const has = (part: string) => parts.includes(part);
  const { grids, tokens } = has("attention") ? value : NONE;
  const { levels, controls } = has("control") ? value : NONE;
  const right =
    [grids, levels].every(areGrids) &&
    isWhole(tokens, LIMITS.tokens, Number(has("attention"))) &&
    isWhole(controls, LIMITS.tokens, Number(has("control")));
  const maps = { grids, tokens, levels, controls } as typeof NONE;
  return right ? { index, sigma, sigma_next, seconds: time, size, parts, ...maps } : undefined;
}

const areGrids = (value: unknown) =>
  Array.isArray(value) &&
  value.length <= LIMITS.layers &&
  value.every((grid) => areWhole(grid, [LIMITS.side, LIMITS.side]));

/** The bytes that hold a part, and its start. */
interface Place {
  data: Uint8Array;
  at: number;
}

export class Packed implements Frame {
  declare readonly index: number;
  declare readonly sigma: number;
  declare readonly sigma_next: number;
  declare readonly seconds: number | null;
  declare readonly size: Meta["size"];
  declare readonly grids: Meta["grids"];
  declare readonly tokens: number;
  readonly meta: Meta;
  readonly places: ReadonlyMap<string, Place>; // of latents by name, of maps by number: "grids0"
  readonly #floats = new Map<string, Float32Array | undefined>();
  readonly #maps: Meta;

  /** `maps`: the header of the maps, if these came separately. */
  constructor(meta: Meta, places: ReadonlyMap<string, Place>, maps: Meta = meta) {
    this.meta = meta;
    this.places = places;
    this.#maps = maps;
    const { index, sigma, sigma_next, seconds, size } = meta;
    const { grids, tokens } = maps;
    Object.assign(this, { index, sigma, sigma_next, seconds, size, grids, tokens });
  }

  get guided() {
    return this.places.has("difference");
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
    const place = this.places.get(part);
    if (place && !this.#floats.has(part)) {
      const { data, at } = place;
      this.#floats.set(part, halves(data.subarray(at, at + 2 * count(this.size))));
    }
    return this.#floats.get(part);
  }

  attention(layer: number, picture: number) {
    return this.#layer("grids", this.tokens, layer, picture);
  }

  control(level: number, picture: number) {
    return this.#layer("levels", this.#maps.controls, level, picture);
  }

  #layer(kind: "grids" | "levels", T: number, layer: number, picture: number) {
    const batch = this.size[0];
    const [place, grid] = [this.places.get(kind + layer), this.#maps[kind][layer]];
    if (!place || !grid || !isWhole(picture, batch - 1, 0)) {
      return undefined;
    }
    const [h, w] = grid;
    const { data, at } = place;
    const numbers = new DataView(data.buffer, data.byteOffset + at + picture * T * 4, T * 4);
    // One by one: the bytes may start anywhere, but a float view must be aligned.
    const scales = Float32Array.from({ length: T }, (_, t) => numbers.getFloat32(4 * t, true));
    const from = at + batch * T * 4 + picture * T * h * w;
    return { scales, bytes: data.subarray(from, from + T * h * w), h, w };
  }
}

const count = (size: Meta["size"]) => size.reduce((product, side) => product * side, 1);

/** The place of each part, from `start` on; undefined if they do not fill the bytes. */
function placesIn(data: Uint8Array, meta: Meta, start: number) {
  const { parts, size, grids, tokens, levels, controls } = meta;
  const places = new Map<string, Place>();
  let at = start;
  for (const part of parts) {
    if (part === "attention" || part === "control") continue;
    places.set(part, { data, at });
    at += padded(2 * count(size));
  }
  const place = (kind: string, all: Meta["grids"], count: number) => {
    all.forEach(([h, w], layer) => {
      places.set(kind + layer, { data, at });
      at += size[0] * count * 4 + padded(size[0] * count * h * w);
    });
  };
  place("grids", grids, tokens);
  place("levels", levels, controls);
  return at === data.length ? places : undefined;
}

/** The step in these bytes; undefined if they are inconsistent. */
export function unpack(value: unknown): Packed | undefined {
  const data = bytes(value);
  const found = text(data);
  const meta = found && checked(found.value);
  const places = found && meta && placesIn(data, meta, found.end);
  return places && new Packed(meta, places);
}

/** A step joined with its separate parts; the step alone if those belong to another. */
export function joined(base: Packed, more: Packed | undefined): Packed {
  const fits = more?.index === base.index && more.size.join() === base.size.join();
  if (!more || !fits) return base;
  return new Packed(base.meta, new Map([...base.places, ...more.places]), more.meta);
}

/** The frames of a film, each preceded by its length as uint32. */
export function unfilm(value: unknown): Frame[] {
  const data = bytes(value);
  const numbers = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const frames: Frame[] = [];
  for (let at = 0; at + 4 <= data.length; ) {
    const length = numbers.getUint32(at, true);
    const frame = unpack(data.subarray(at + 4, at + 4 + length));
    if (frame) frames.push(frame);
    at += 4 + length;
  }
  return frames;
}

/** The kept frame nearest to a step, the earlier of two equally near; -1 is the newest. */
export function nearest(frames: readonly Frame[], step: number): Frame | undefined {
  if (step < 0) return frames.at(-1);
  let best: Frame | undefined;
  for (const frame of frames) {
    if (!best || Math.abs(frame.index - step) < Math.abs(best.index - step)) {
      best = frame;
    }
  }
  return best;
}

/** A finished reel. */
export function reelOf(header: Header | undefined, frames: readonly Frame[]): Reel {
  return { header, frames, version: 1, at: (step) => nearest(frames, step) };
}
