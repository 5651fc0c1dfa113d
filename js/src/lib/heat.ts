// Heat maps: how much each spot of the image takes from a word. They equal the kernel's.
//
// A word's map is the mean of the attention to its tokens over the chosen layers and steps, with
// each map resized bilinearly. Its share among the prompt's words counts all its occurrences, each
// as the mean over its tokens. Resizing is linear, so maps of the same resolution are summed first
// and each resolution is resized once: one map takes a millisecond or two.

import { SPECIAL } from "./contract";
import { clamp } from "./numbers";
import type { Frame } from "./reel";
import type { Header, ImageHeader, Reel, Selection } from "./view";

/** Which map. */
export type Chosen = Pick<Selection, "picture" | "word" | "layer" | "span" | "step">;

export interface Share {
  word: string;
  share: number; // 0..1
}

interface Grid {
  h: number;
  w: number;
  values: Float32Array; // [h, w]
}

/** Sums of maps, one a resolution. */
interface Stack {
  key: string; // identifies the sum
  grids: Map<number, Grid>;
  count: number; // of the maps summed
}

const LONGEST_SIDE = 256; // of an overlay
const MOST_NUMBERS = 8 << 20; // kept for all reels together: 32 MB

// ------------------------------------------------------------------------------ what is summed

export const isSpecial = (word: string) => (SPECIAL as readonly string[]).includes(word);

/** A word, or the name of a special token without its brackets. */
export const plain = (word: string) => (isSpecial(word) ? word.slice(1, -1) : word);

/** Compares words without regard to case, as the kernel does. */
export const sameWord = (one: string, other: string) => one.toLowerCase() === other.toLowerCase();

/**
 * The occurrences of a word in a prompt, each as the indices of its words: several if the text asked
 * for has several words.
 */
export function occurrences(picture: ImageHeader, word: string): number[][] {
  const parts = word.split(/\s+/).filter(Boolean);
  const { words } = picture;
  const found: number[][] = [];
  for (let i = 0; parts.length > 0 && i + parts.length <= words.length; i++) {
    const here = parts.map((_, k) => i + k);
    if (here.every((at, k) => sameWord(words[at]?.text ?? "", parts[k] as string)))
      found.push(here);
  }
  return found;
}

/** The attention's columns for all occurrences of a word; [] if there are none. */
export function columns(picture: ImageHeader, word: string, width: number): number[] {
  const end = picture.pieces.length + 1;
  if (word === "<start>") return [0];
  if (word === "<end>") return end < width ? [end] : [];
  if (word === "<padding>") return end + 1 < width ? [width - 1] : []; // the sum of all of it
  const found = occurrences(picture, word).flat();
  const tokens = found.flatMap((at) => picture.words[at]?.tokens ?? []);
  return [...new Set(tokens)].filter((token) => token < width);
}

/** The index of the chosen image; the nearest if the batch is smaller. */
export function imageAt(header: Header | undefined, picture: number): number {
  return clamp(Math.round(picture), 0, Math.max((header?.pictures.length ?? 0) - 1, 0));
}

/** The layers to average: the chosen one, else the recipe's, else all. */
function layersOf(header: Header, layer: number): number[] {
  if (header.layers[layer]) return [layer];
  return header.recipe.layers.length > 0 ? header.recipe.layers : header.layers.map((_, i) => i);
}

/** The frames to average: the step on show, or the recipe's steps; all before the first of these. */
function framesOf(
  reel: Reel,
  header: Header,
  { span, step }: Pick<Chosen, "span" | "step">,
): Frame[] {
  if (span === "step") {
    const frame = reel.at(step);
    return frame && frame.tokens > 0 ? [frame] : [];
  }
  const [from, to] = header.recipe.steps;
  const seen = reel.frames.filter((frame) => frame.tokens > 0);
  const counted = seen.filter((frame) => {
    const when = (frame.index + 0.5) / Math.max(header.steps, 1);
    return from <= when && when < to;
  });
  return counted.length > 0 ? counted : seen;
}

/** The frames and layers that a map averages; undefined before the header. */
export function counted(reel: Reel, chosen: Omit<Chosen, "word" | "picture">) {
  const { header } = reel;
  if (!header) return undefined;
  return { frames: framesOf(reel, header, chosen), layers: layersOf(header, chosen.layer) };
}

/** Adds the mean over `tokens` of each layer's map. */
function add(stack: Stack, frame: Frame, picture: number, layers: number[], tokens: number[]) {
  for (const layer of layers) {
    const attention = frame.attention(layer, picture);
    if (!attention) continue;
    const { h, w, scales, bytes } = attention;
    const { values } = gridOf(stack, h, w);
    for (const token of tokens) {
      const scale = (scales[token] ?? 0) / 255 / tokens.length;
      const from = token * h * w;
      for (let i = 0; i < values.length; i++) {
        values[i] = (values[i] as number) + scale * (bytes[from + i] as number);
      }
    }
    stack.count += 1;
  }
}

function gridOf(stack: Stack, h: number, w: number): Grid {
  const name = h * 65_536 + w;
  let grid = stack.grids.get(name);
  if (!grid) {
    grid = { h, w, values: new Float32Array(h * w) };
    stack.grids.set(name, grid);
  }
  return grid;
}

// --------------------------------------------------------------------------- what is remembered

/** Keeps the most recently used maps, up to `MOST_NUMBERS`. */
class Memory {
  readonly #kept = new Map<string, { value: unknown; size: number }>();
  #size = 0;

  recall<T>(key: string, make: () => T, size: (made: T) => number): T {
    const known = this.#kept.get(key);
    const value = known ? (known.value as T) : make();
    const now = size(value); // it may have grown
    this.#kept.delete(key);
    this.#kept.set(key, { value, size: now });
    this.#size += now - (known?.size ?? 0);
    for (const [old, entry] of this.#kept) {
      if (this.#size <= MOST_NUMBERS || old === key) break;
      this.#kept.delete(old);
      this.#size -= entry.size;
    }
    return value;
  }
}

const memory = new Memory();
const numbers = new WeakMap<object, number>();
let last = 0;

/** A number that identifies a frame or reel. */
function numberOf(thing: object): number {
  let number = numbers.get(thing);
  if (number === undefined) {
    last += 1;
    number = last;
    numbers.set(thing, number);
  }
  return number;
}

const sizeOf = (stack: Stack) =>
  [...stack.grids.values()].reduce((sum, grid) => sum + grid.values.length, 64);

/** The sums over these frames. While a run goes on, only new frames are added. */
function stackOf(
  reel: Reel,
  frames: Frame[],
  picture: number,
  layers: number[],
  tokens: number[],
): Stack {
  const one = frames.length === 1 ? frames[0] : undefined;
  const key = `${numberOf(one ?? reel)} ${one ? "step" : "run"} ${picture} ${layers} ${tokens}`;
  const empty = () => ({ key, grids: new Map<number, Grid>(), count: 0 });
  const make = () => ({ stack: empty(), seen: new Set<Frame>() });
  const sum = memory.recall(key, make, ({ stack }) => sizeOf(stack));
  let fresh = frames.filter((frame) => !sum.seen.has(frame));
  if (sum.seen.size + fresh.length !== frames.length) {
    Object.assign(sum, make()); // some frames no longer count: another run
    fresh = frames;
  }
  for (const frame of fresh) {
    add(sum.stack, frame, picture, layers, tokens);
    sum.seen.add(frame);
  }
  if (fresh.length > 0)
    sum.stack.key = `${key} ${sum.seen.size} ${numberOf(frames.at(-1) as Frame)}`;
  return sum.stack;
}

/** The sum over all words of their stacks. */
function total(stacks: Stack[]): Stack {
  const sum: Stack = { key: "", grids: new Map(), count: stacks[0]?.count ?? 0 };
  for (const stack of stacks) {
    for (const { h, w, values } of stack.grids.values()) {
      const into = gridOf(sum, h, w).values;
      for (let i = 0; i < into.length; i++) into[i] = (into[i] as number) + (values[i] as number);
    }
  }
  return sum;
}

/** What `chosen` means for this reel; undefined if nothing was recorded for it. */
function resolve(reel: Reel, chosen: Omit<Chosen, "word">) {
  const { header } = reel;
  const which = imageAt(header, chosen.picture);
  const picture = header?.pictures[which];
  if (!header || !picture) return undefined;
  const frames = framesOf(reel, header, chosen);
  const width = frames[0]?.tokens ?? 0;
  if (width === 0) return undefined;
  const layers = layersOf(header, chosen.layer);
  const stack = (tokens: number[]) => stackOf(reel, frames, which, layers, tokens);
  return { header, picture, width, stack };
}

/** One stack for each word of the prompt, in order; occurrences apart. */
function wordStacks({ picture, width, stack }: NonNullable<ReturnType<typeof resolve>>) {
  return picture.words.map(({ text, tokens }) => {
    return { text, stack: stack(tokens.filter((token) => token < width)) };
  });
}

// ------------------------------------------------------------------------------------- the maps

let lines = new Float32Array(0); // scratch

/** Adds a grid, resized bilinearly to [height, width]: half-pixel centres, edges clamped. */
function addResized(out: Float32Array, width: number, height: number, grid: Grid, factor: number) {
  const { h, w, values } = grid;
  if (lines.length < h * width) lines = new Float32Array(h * width);
  for (let x = 0; x < width; x++) {
    const at = Math.max(((x + 0.5) * w) / width - 0.5, 0);
    const left = Math.min(Math.floor(at), w - 1);
    const right = Math.min(left + 1, w - 1);
    for (let y = 0; y < h; y++) {
      const a = values[y * w + left] as number;
      const b = values[y * w + right] as number;
      lines[y * width + x] = factor * (a + (b - a) * (at - left));
    }
  }
  for (let y = 0; y < height; y++) {
    const at = Math.max(((y + 0.5) * h) / height - 0.5, 0);
    const upper = Math.min(Math.floor(at), h - 1);
    const share = at - upper;
    let a = upper * width;
    let b = Math.min(upper + 1, h - 1) * width;
    for (let i = y * width; i < (y + 1) * width; i++, a++, b++) {
      const over = lines[a] as number;
      out[i] = (out[i] as number) + over + ((lines[b] as number) - over) * share;
    }
  }
}

function mean(stack: Stack, width: number, height: number): Float32Array {
  const out = new Float32Array(width * height);
  for (const grid of stack.grids.values()) addResized(out, width, height, grid, 1 / stack.count);
  return out;
}

/**
 * A word's map [height, width]: its attention, at least 0, or if the recipe says so its share among
 * the prompt's words, 0 to 1. Undefined if none was recorded. Do not write into it.
 */
export function heat(
  reel: Reel,
  chosen: Chosen,
  width: number,
  height: number,
): Float32Array | undefined {
  const found = resolve(reel, chosen);
  if (!found) return undefined;
  const tokens = columns(found.picture, chosen.word, found.width);
  if (tokens.length === 0) return undefined;
  const stack = found.stack(tokens);
  if (stack.count === 0) return undefined;
  const words = isShare(found.header) && !isSpecial(chosen.word);
  const key = `${stack.key} ${width} ${height} ${words}`;
  const make = () => {
    if (!words) return mean(stack, width, height);
    const stacks = wordStacks(found).map((word) => word.stack);
    const own = new Set(occurrences(found.picture, chosen.word).flat());
    const all = mean(total(stacks), width, height);
    const some = mean(total(stacks.filter((_, i) => own.has(i))), width, height);
    for (let i = 0; i < some.length; i++) {
      some[i] = (some[i] as number) / ((all[i] as number) || 1);
    }
    return some;
  };
  return memory.recall(key, make, (map) => map.length);
}

/** The mean of a word's maps at a spot of the image (shares 0..1 of its width and height). */
function sample(stack: Stack, x: number, y: number): number {
  let sum = 0;
  for (const { h, w, values } of stack.grids.values()) {
    const along = clamp(x * w - 0.5, 0, w - 1);
    const down = clamp(y * h - 0.5, 0, h - 1);
    const [left, upper] = [Math.floor(along), Math.floor(down)];
    for (const [row, high] of [
      [upper, 1 - down + upper],
      [Math.min(upper + 1, h - 1), down - upper],
    ] as const) {
      for (const [column, wide] of [
        [left, 1 - along + left],
        [Math.min(left + 1, w - 1), along - left],
      ] as const) {
        sum += high * wide * (values[row * w + column] as number);
      }
    }
  }
  return stack.count > 0 ? sum / stack.count : 0;
}

/**
 * The prompt's words by what a spot takes from each, largest first, measured as in their maps: as
 * shares of all attention or, if the recipe says so, of the attention to words. A word of several
 * tokens counts as their mean, as in its map.
 */
export function ranking(
  reel: Reel,
  chosen: Omit<Chosen, "word">,
  cell: { x: number; y: number },
): Share[] {
  const found = resolve(reel, chosen);
  if (!found) return [];
  const { picture, width, stack, header } = found;
  const at = (one: Stack) => sample(one, cell.x, cell.y);
  const each = wordStacks(found).map((word) => at(word.stack));
  const sum = each.reduce((all, value) => all + value, 0) || 1;
  const words = new Map(picture.words.map(({ text }) => [text.toLowerCase(), text]));
  return [...words.values()]
    .map((word) => {
      const own = occurrences(picture, word).flat();
      const among = own.reduce((all, i) => all + (each[i] as number), 0) / sum;
      return { word, share: isShare(header) ? among : at(stack(columns(picture, word, width))) };
    })
    .sort((a, b) => b.share - a.share);
}

/** Whether maps are shares of the attention to words, and not of all attention. */
export const isShare = (header: Header | undefined) => header?.recipe.against === "words";

/**
 * How much one layer at one step takes from a word, as shares of all attention: in the mean over
 * the image, and over its strongest tenth. Undefined if not recorded.
 */
export function glance(frame: Frame, layer: number, picture: number, tokens: number[]) {
  const stack: Stack = { key: "", grids: new Map(), count: 0 };
  add(stack, frame, picture, [layer], tokens);
  const [grid] = stack.grids.values();
  if (!grid) return undefined;
  const { values } = grid;
  const sum = values.reduce((all, value) => all + value, 0);
  return { mean: sum / values.length, peak: strongest(values) };
}

const BINS = 2048; // more than the 256 values of one token, which stay separate

/** The mean of the largest tenth of the values, in one pass over them instead of sorting. */
function strongest(values: Float32Array): number {
  const most = values.reduce((largest, value) => Math.max(largest, value), 0);
  if (most === 0) return 0;
  const [counts, sums] = [new Uint32Array(BINS), new Float64Array(BINS)];
  for (const value of values) {
    const bin = Math.round((value / most) * (BINS - 1));
    counts[bin] = (counts[bin] as number) + 1;
    sums[bin] = (sums[bin] as number) + value;
  }
  const tenth = values.length / 10;
  let [left, inside] = [tenth, 0];
  for (let bin = BINS - 1; bin >= 0 && left > 0; bin--) {
    const count = counts[bin] as number;
    if (count === 0) continue;
    const taken = Math.min(left, count);
    inside += ((sums[bin] as number) * taken) / count;
    left -= taken;
  }
  return inside / tenth;
}

// ------------------------------------------------------------------------------------ on screen

/** The size of an overlay: the image's shape, its longer side at most 256. */
export function canvasSize({ width, height }: Pick<Header, "width" | "height">): [number, number] {
  const scale = Math.min(LONGEST_SIDE / Math.max(width, height, 1), 1);
  return [Math.max(Math.round(width * scale), 1), Math.max(Math.round(height * scale), 1)];
}

/** The least and the largest. */
export function extent(values: Float32Array): [number, number] {
  let [least, most] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (const value of values) {
    if (value < least) least = value;
    if (value > most) most = value;
  }
  return [least, most];
}

/** The values scaled from their range to 0..1; all 0 if they are equal. */
export function scaled(values: Float32Array): Float32Array {
  const [least, most] = extent(values);
  const range = most - least;
  return range > 0
    ? values.map((value) => (value - least) / range)
    : new Float32Array(values.length);
}

// For each set of a square's corners above the level (upper left 1, upper right 2, lower right 4,
// lower left 8), the sides that the line joins: 0 above, 1 right, 2 below, 3 left.
const SIDES: readonly (readonly number[])[] = [
  [],
  [3, 0],
  [0, 1],
  [3, 1],
  [1, 2],
  [], // a saddle, see below
  [0, 2],
  [3, 2],
  [2, 3],
  [2, 0],
  [],
  [2, 1],
  [1, 3],
  [1, 0],
  [0, 3],
  [],
];

/** Where the values cross a level: line segments as x, y, x, y in pixels. */
export function contour(values: Float32Array, w: number, h: number, level: number): number[] {
  const lines: number[] = [];
  for (let y = 0; y + 1 < h; y++) {
    for (let x = 0; x + 1 < w; x++) {
      const i = y * w + x;
      const a = values[i] as number;
      const b = values[i + 1] as number;
      const c = values[i + w + 1] as number;
      const d = values[i + w] as number;
      const corners =
        (a > level ? 1 : 0) | (b > level ? 2 : 0) | (c > level ? 4 : 0) | (d > level ? 8 : 0);
      if (corners === 0 || corners === 15) continue;
      let sides = SIDES[corners] as readonly number[];
      if (corners === 5 || corners === 10) {
        const middle = (a + b + c + d) / 4 > level;
        sides = middle === (corners === 5) ? [3, 2, 0, 1] : [3, 0, 1, 2];
      }
      for (const side of sides) {
        const share = (from: number, to: number) => (level - from) / (to - from);
        if (side === 0) lines.push(x + 0.5 + share(a, b), y + 0.5);
        else if (side === 1) lines.push(x + 1.5, y + 0.5 + share(b, c));
        else if (side === 2) lines.push(x + 0.5 + share(d, c), y + 1.5);
        else lines.push(x + 0.5, y + 0.5 + share(a, d));
      }
    }
  }
  return lines;
}
