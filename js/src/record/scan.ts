// One reading of a whole file: its SHA-256, and the values of all tensors, in slices that leave the
// page free.

import type { Source } from "../lib/source";
import { DIGEST, type Tensor } from "./layout";
import { Sha256 } from "./sha256";
import type { Values } from "./tensors";

const READ = 4 * 2 ** 20; // bytes
const SLICE = 2 ** 19; // bytes between two pauses: a few milliseconds of work

/** What `scan` needs of its host. */
export interface ScanOptions {
  signal?: AbortSignal | undefined;
  /** Waits until the page has nothing more important to do. */
  pause(): Promise<void>;
  /** Told how many bytes were read. */
  progress?(read: number): void;
}

/** The file's digest, with zeros in place of the one that it names at `digest`; wrong values are
 * added to `values`. */
export async function scan(
  source: Source,
  digest: number,
  tensors: ReadonlyMap<string, Tensor>,
  values: Values,
  { signal, pause, progress }: ScanOptions,
): Promise<string> {
  const hash = new Sha256();
  const check = new Checks(tensors, values);
  for (let from = 0; from < source.size; from += READ) {
    await pause();
    signal?.throwIfAborted();
    const data = await source.read(from, Math.min(from + READ, source.size), signal);
    for (let at = 0; at < data.length; at += SLICE) {
      if (at > 0) await pause();
      signal?.throwIfAborted();
      const slice = data.subarray(at, at + SLICE);
      check.take(slice, from + at);
      hash.update(withZeros(slice, from + at, digest));
    }
    progress?.(from + data.length);
  }
  return hash.hex();
}

/** A copy with zeros where the digest is, if any of it is here. */
function withZeros(slice: Uint8Array, from: number, digest: number): Uint8Array {
  const [start, end] = [Math.max(digest - from, 0), digest + DIGEST - from];
  if (start >= slice.length || end <= 0) return slice;
  return slice.slice().fill(0x30, start, Math.min(end, slice.length));
}

const GREATEST = 0x477fe000; // 65,504 as a float32

/** Looks at floats as their bytes pass by; they may be cut anywhere. */
class Checks {
  readonly #places: { name: string; tensor: Tensor }[];
  readonly #values: Values;
  #next = 0; // the first tensor that has not passed
  #held = 0; // the bytes of a float32 so far

  constructor(tensors: ReadonlyMap<string, Tensor>, values: Values) {
    this.#places = [...tensors].map(([name, tensor]) => ({ name, tensor }));
    this.#places.sort((a, b) => a.tensor.from - b.tensor.from || a.tensor.to - b.tensor.to);
    this.#values = values;
  }

  take(data: Uint8Array, from: number) {
    const end = from + data.length;
    for (; this.#next < this.#places.length; this.#next++) {
      const { name, tensor } = this.#places[this.#next] as { name: string; tensor: Tensor };
      if (tensor.from >= end) return;
      const part = data.subarray(Math.max(tensor.from - from, 0), Math.min(tensor.to, end) - from);
      const offset = Math.max(from - tensor.from, 0);
      if (tensor.type === "F16" && isInfinite(part, offset)) this.#values.infinite.add(name);
      if (tensor.type === "F32") this.#floats(name, part, offset);
      if (tensor.to > end) return;
    }
  }

  #floats(name: string, data: Uint8Array, offset: number) {
    let held = this.#held;
    for (let i = 0; i < data.length; i++) {
      held = (held >>> 8) | ((data[i] as number) << 24);
      if (((offset + i) & 3) !== 3) continue;
      const size = held & 0x7fffffff;
      if (size >= 0x7f800000) this.#values.infinite.add(name);
      if (size > GREATEST || (held < 0 && size > 0)) this.#values.outside.add(name);
    }
    this.#held = held;
  }
}

/** Whether float16 numbers have NaN or infinity; `offset`: the bytes of them before. */
export function isInfinite(data: Uint8Array, offset = 0): boolean {
  for (let i = offset & 1 ? 0 : 1; i < data.length; i += 2) {
    if (((data[i] as number) & 0x7c) === 0x7c) return true;
  }
  return false;
}
