// Frames: the bytes of a step for the page, out of a file's tensors (trace/reel.py, stored.py).

import { KINDS, LARGEST_FRAME, LONGEST_SIDE, PARTS } from "../lib/contract";
import { halves } from "../lib/half";
import type { Tensor } from "./layout";
import { dumps, type Json } from "./python";
import { blockOf, type Grid } from "./tensors";
import type { StepInfo, Unpacked } from "./unpacked";

/** Gives the bytes of a tensor. */
export type Read = (name: string) => Uint8Array;

/** The latents of a frame, in its order. */
const latentsOf = ({ parts }: StepInfo): string[] => {
  const isGuided = parts.includes("uncond") && parts.includes("difference");
  return PARTS.filter((part) => {
    if (part === "attention" || part === "control") return false;
    return part === "uncond" || part === "difference" ? isGuided : true;
  });
};

/** The layers of a step's cross-attention, or the levels of what controls add: the name of the
 * tensor, its layer's grid. */
function layersOf(kind: "cross" | "control", step: StepInfo, record: Unpacked): [string, Grid][] {
  const part = KINDS[kind];
  if (!step.parts.includes(part)) return [];
  const grids = [...(record.content.grids.get(kind)?.values() ?? [])];
  return grids.map((grid, number) => [`steps.${step.index}.${part}.${number}`, grid]);
}

/** All of both. */
const mapsOf = (step: StepInfo, record: Unpacked) => [
  ...layersOf("cross", step, record),
  ...layersOf("control", step, record),
];

/** The tensors that a frame is made of, in groups that are used together. */
export function needed(step: StepInfo, record: Unpacked): string[][] {
  const { content } = record;
  const layers = mapsOf(step, record).map(([name]) =>
    content.isScaled("cross") ? [name, `${name}.scale`] : [name],
  );
  return [latentsOf(step).map((part) => `steps.${step.index}.${part}`), ...layers];
}

/** How a frame is laid out with at most `longest` cells along a side. */
function plan(step: StepInfo, record: Unpacked, longest: number) {
  const [batch, channels, h, w] = record.content.shape as [number, number, number, number];
  const within = (sides: Grid): Grid => {
    const by = reduction(sides, longest);
    return [Math.ceil(sides[0] / by), Math.ceil(sides[1] / by)];
  };
  const layers = layersOf("cross", step, record);
  const levels = layersOf("control", step, record);
  const latents = latentsOf(step);
  const size = [batch, channels, ...within([h, w])];
  const sides = (some: [string, Grid][]) => some.map(([, grid]) => within(grid));
  const shape = (name: string, at: number) =>
    (record.content.all.get(name) as Tensor).shape[at] ?? 0;
  // of a layer's maps: one for each token, or for each control
  const counts = [
    ...layers.map(([name]) => shape(name, 2)),
    ...levels.map(([name]) => shape(name, 1)),
  ];
  const whole = (values: readonly number[]) => values.map(BigInt);
  const meta: [string, Json][] = [
    ["index", BigInt(step.index)],
    ["sigma", step.sigma],
    ["sigma_next", step.sigma_next],
    ["seconds", step.seconds],
    ["size", whole(size)],
    [
      "parts",
      [
        ...latents,
        ...(layers.length > 0 ? ["attention"] : []),
        ...(levels.length > 0 ? ["control"] : []),
      ],
    ],
    ["grids", sides(layers).map(whole)],
    ["tokens", BigInt(counts[layers.length - 1] ?? 0)],
  ];
  if (levels.length > 0) {
    meta.push(["levels", sides(levels).map(whole)], ["controls", BigInt(counts.at(-1) as number)]);
  }
  const text = dumps(new Map(meta));
  const start = 4 + padded(text.length);
  const each = padded(2 * product(size));
  const sizes = sides([...layers, ...levels]).map(([rows, cells], i) => {
    const maps = batch * (counts[i] as number);
    return padded(4 * maps) + padded(maps * rows * cells);
  });
  const length = sizes.reduce((sum, one) => sum + one, start + latents.length * each);
  return { layers: [...layers, ...levels], latents, text, start, length };
}

/** For each step, the longest side of its frame: less than the usual one for large steps, as soon
 * as a step before it was large. */
export function longestSides(steps: readonly StepInfo[], record: Unpacked): number[] {
  let longest: number = LONGEST_SIDE;
  return steps.map((step) => {
    while (longest > 8 && plan(step, record, longest).length > LARGEST_FRAME) {
      longest = Math.floor(longest / 2);
    }
    return longest;
  });
}

/** The longest side with which frames of these steps have at most so many bytes together. */
export function sideWithin(steps: readonly StepInfo[], record: Unpacked, most: number): number {
  let longest: number = LONGEST_SIDE;
  const size = () => steps.reduce((sum, step) => sum + plan(step, record, longest).length, 0);
  while (longest > 8 && size() > most) longest = Math.floor(longest / 2);
  return longest;
}

/** A step as bytes. `load` reads a group of tensors; `pause` lets the page do other things. */
export async function pack(
  step: StepInfo,
  record: Unpacked,
  {
    load,
    pause = async () => {},
    longest = LONGEST_SIDE,
  }: {
    load: (names: readonly string[]) => Promise<Read>;
    pause?: () => Promise<void>;
    longest?: number;
  },
): Promise<Uint8Array> {
  const { layers, text, start, length } = plan(step, record, longest);
  const out = new Uint8Array(length);
  const numbers = new DataView(out.buffer);
  numbers.setUint32(0, start - 4, true);
  out.fill(32, 4, start);
  out.set(new TextEncoder().encode(text), 4);
  const groups = needed(step, record);
  let at = start;
  const latents = latentsIn(step, record, await load(groups[0] as string[]), longest);
  for (const each of latents) {
    out.set(each, at);
    at += padded(each.length);
  }
  for (const [i, [name, grid]] of layers.entries()) {
    await pause();
    const read = await load(groups[i + 1] as string[]);
    const { scales, levels } = quantised(means(name, grid, record, read, longest));
    for (let k = 0; k < scales.length; k++)
      numbers.setFloat32(at + 4 * k, scales[k] as number, true);
    at += 4 * scales.length;
    out.set(levels, at);
    at += padded(levels.length);
  }
  return out;
}

/** The latents of a frame as float16. */
function latentsIn(step: StepInfo, record: Unpacked, read: Read, longest: number): Uint8Array[] {
  const [batch, channels, h, w] = record.content.shape as [number, number, number, number];
  const by = reduction([h, w], longest);
  const bytes = (part: string) => read(`steps.${step.index}.${part}`);
  return latentsOf(step).map((part) => {
    if (part !== "difference") {
      if (by === 1) return bytes(part); // of unit variance and of float16 already
      return float16(averaged(halves(bytes(part)), batch * channels, [h, w], by));
    }
    // as from the prompt's half, which is a sum
    const [uncond, difference] = [halves(bytes("uncond")), halves(bytes("difference"))];
    const values = difference.map((one, i) => {
      const other = uncond[i] as number;
      return Math.fround(Math.fround(other + one) - other);
    });
    return float16(averaged(values, batch * channels, [h, w], by));
  });
}

interface Maps {
  values: Float32Array; // [count, h, w]
  count: number;
}

/** [B, T, h, w]: the mean over the heads of a layer's maps, of at most `longest` cells a side; of
 * controls, of which none is a mean, [B, K, h, w]. */
function means(name: string, grid: Grid, record: Unpacked, read: Read, longest: number): Maps {
  const { content } = record;
  const { shape } = content.all.get(name) as Tensor;
  const isControl = name.includes(`.${KINDS.control}.`);
  const [batch, of, inner, rows, cells] = shape as [number, number, number, number, number];
  const [heads, columns] = isControl ? [1, of] : [of, inner];
  const kept = rows * cells;
  const data = read(name);
  const maps = content.isScaled("cross")
    ? scaled(data, floats(read(`${name}.scale`)), kept)
    : halves(data);
  const mean = new Float32Array(batch * columns * kept);
  const each = columns * kept;
  for (let b = 0; b < batch; b++) {
    for (let i = 0; i < each; i++) {
      let sum = 0;
      for (let k = 0; k < heads; k++) {
        sum = Math.fround(sum + (maps[(b * heads + k) * each + i] as number));
      }
      mean[b * each + i] = sum / heads;
    }
  }
  const count = batch * columns;
  const by = content.isScaled("cross") ? blockOf(grid) : 1;
  const whole = by === 1 ? mean : repeated(mean, count, [rows, cells], grid, by);
  return { values: averaged(whole, count, grid, reduction(grid, longest)), count };
}

/** Maps of eight bits, 255 of which stand for the scale, as float16 rounds them. */
function scaled(data: Uint8Array, scales: Float32Array, cells: number): Float32Array {
  const out = new Float32Array(data.length);
  for (let map = 0; map < scales.length; map++) {
    const scale = Math.fround((scales[map] as number) / 255);
    const table = Float32Array.from({ length: 256 }, (_, level) => rounded(level * scale));
    for (let i = map * cells; i < (map + 1) * cells; i++)
      out[i] = table[data[i] as number] as number;
  }
  return out;
}

/** Maps back at their layer's own size, all cells of a block alike. */
function repeated(maps: Float32Array, count: number, [, cells]: Grid, [h, w]: Grid, by: number) {
  const out = new Float32Array(count * h * w);
  const kept = maps.length / count;
  for (let map = 0; map < count; map++) {
    for (let y = 0; y < h; y++) {
      const row = map * kept + Math.floor(y / by) * cells;
      const to = (map * h + y) * w;
      for (let x = 0; x < w; x++) out[to + x] = maps[row + Math.floor(x / by)] as number;
    }
  }
  return out;
}

/** The means of blocks of `by` x `by` cells; a block beyond the edge repeats the edge. */
function averaged(maps: Float32Array, count: number, [h, w]: Grid, by: number): Float32Array {
  if (by === 1) return maps;
  const [rows, cells] = [Math.ceil(h / by), Math.ceil(w / by)];
  const out = new Float32Array(count * rows * cells);
  for (let map = 0; map < count; map++) {
    for (let row = 0; row < rows; row++) {
      for (let cell = 0; cell < cells; cell++) {
        let sum = 0;
        for (let i = 0; i < by; i++) {
          const y = Math.min(row * by + i, h - 1);
          for (let k = 0; k < by; k++) {
            sum += maps[(map * h + y) * w + Math.min(cell * by + k, w - 1)] as number;
          }
        }
        out[(map * rows + row) * cells + cell] = sum / (by * by);
      }
    }
  }
  return out;
}

function quantised({ values, count }: Maps) {
  const cells = values.length / count;
  const scales = new Float32Array(count);
  const levels = new Uint8Array(values.length);
  for (let map = 0; map < count; map++) {
    let most = values[map * cells] as number;
    for (let i = 1; i < cells; i++) most = Math.max(most, values[map * cells + i] as number);
    scales[map] = most;
    const by = Math.fround(255 / (most > 0 ? most : 1));
    for (let i = map * cells; i < (map + 1) * cells; i++) {
      const level = Math.fround((values[i] as number) * by);
      levels[i] = Math.min(Math.max(nearestEven(level), 0), 255);
    }
  }
  return { scales, levels };
}

/** The nearest whole number, the even of two. */
export function nearestEven(value: number): number {
  const low = Math.floor(value);
  const off = value - low;
  return off < 0.5 || (off === 0.5 && low % 2 === 0) ? low : low + 1;
}

/** How many cells become one along each side, so that there are at most `longest`. */
const reduction = (sides: Grid, longest: number) => Math.ceil(Math.max(...sides) / longest);
const padded = (length: number) => Math.ceil(length / 4) * 4;
const product = (sizes: readonly number[]) => sizes.reduce((all, one) => all * one, 1);

/** Little-endian float32, wherever the bytes begin. */
export const floats = (data: Uint8Array) => new Float32Array(data.slice().buffer);

// -------------------------------------------------------------------------------- float16

const single = new Float32Array(1);
const pattern = new Uint32Array(single.buffer);

/** The bits of the nearest float16, the even of two. */
function half(value: number): number {
  single[0] = value;
  const all = pattern[0] as number;
  const sign = (all >>> 16) & 0x8000;
  const exponent = ((all >>> 23) & 255) - 112;
  if (exponent >= 31) return sign | 0x7c00;
  const digits = (all & 0x7fffff) | 0x800000;
  if (exponent <= 0) return exponent < -10 ? sign : sign | shifted(digits, 14 - exponent);
  return sign + ((exponent - 1) << 10) + shifted(digits, 13);
}

/** The digits without the last few bits, rounded to the even of two. */
function shifted(digits: number, by: number): number {
  const kept = digits >>> by;
  const rest = digits & ((1 << by) - 1);
  const middle = 1 << (by - 1);
  return rest > middle || (rest === middle && (kept & 1) === 1) ? kept + 1 : kept;
}

function float16(values: Float32Array): Uint8Array {
  const out = new Uint8Array(2 * values.length);
  for (let i = 0; i < values.length; i++) {
    const bits = half(values[i] as number);
    out[2 * i] = bits & 255;
    out[2 * i + 1] = bits >> 8;
  }
  return out;
}

const two = new Uint8Array(2);

/** The value as float16 keeps it. */
function rounded(value: number): number {
  const bits = half(Math.fround(value));
  two[0] = bits & 255;
  two[1] = bits >> 8;
  return halves(two)[0] as number;
}
