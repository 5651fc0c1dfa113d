// A file whose header was read, and what it says; the rest of it is checked afterwards.

import type { Source } from "../lib/source";
import type { Header } from "../lib/view";
import { floats } from "./frames";
import { headerOf as pageHeader } from "./header";
import { checkImage, imageInfo } from "./images";
import { DIGEST, headerEnd, headerOf, metaOf, type Tensor, tensorsOf } from "./layout";
import type { JsonObject } from "./python";
import { Fault } from "./refused";
import { scan } from "./scan";
import { keeping, readRanges } from "./source";
import type { Values } from "./tensors";
import { followedBy, picturesOf, type Unpacked, unpacked } from "./unpacked";

const START = 65_536; // bytes read first: most headers fit
const WHOLE = 2 * 2 ** 20; // bytes of a file that is read at once
const IMAGES = 8 * 2 ** 20; // bytes of images that are read before the record is shown

/** What was read of a file. */
export interface Believed {
  readonly tensors: ReadonlyMap<string, Tensor>;
  readonly record: Unpacked;
}

export class Opening {
  readonly source: Source;
  header: JsonObject;
  readonly start: number; // of the tensors
  readonly digest: number; // its place
  readonly said: string; // the digest that the file names
  readonly values: Values = { infinite: new Set(), outside: new Set(), images: new Map() };

  private constructor(source: Source, bytes: Uint8Array, size: number) {
    this.source = source;
    const { header, digest } = headerOf(bytes, size);
    this.header = header;
    this.start = bytes.length;
    this.digest = digest;
    this.said = String.fromCharCode(...bytes.subarray(digest, digest + DIGEST));
  }

  static async of(source: Source, signal: AbortSignal): Promise<Opening> {
    const { size } = source;
    let start = await source.read(0, Math.min(size, START), signal);
    const end = headerEnd(start, size);
    const wanted = size <= WHOLE ? size : end;
    if (wanted > start.length) {
      start = joined(start, await source.read(start.length, wanted, signal));
    }
    return new Opening(keeping(source, start), start.subarray(0, end), size);
  }

  /** The record, as far as its tensors' values are known; a `Fault` if it is wrong. */
  believed(): Believed {
    const meta = metaOf(this.header);
    const tensors = tensorsOf(this.header, this.start);
    return { tensors, record: unpacked(meta, tensors, this.values) };
  }

  /** Reads the whole file; a `Fault` unless all of it is as it was written. */
  async verify(pause: () => Promise<void>, signal: AbortSignal, progress?: (read: number) => void) {
    const tensors = quietly(() => tensorsOf(this.header, this.start)) ?? new Map<string, Tensor>();
    const options = { signal, pause, ...(progress && { progress }) };
    const found = await scan(this.source, this.digest, tensors, this.values, options);
    if (found !== this.said) throw new Fault("it is not what was written (its SHA-256 differs)");
    for (const name of quietly(() => picturesOf(metaOf(this.header))) ?? []) {
      const tensor = tensors.get(name);
      if (tensor?.type !== "U8" || tensor.shape.length !== 1) continue;
      await pause();
      const data = await this.source.read(tensor.from, tensor.to, signal);
      this.values.images.set(name, await checkImage(data).catch((error: unknown) => fault(error)));
    }
    this.believed();
    this.header = new Map(); // all of it was used
  }
}

/** What is shown at once: the header, and the images if they are small. */
export async function shownFirst(
  opening: Opening,
  signal: AbortSignal,
): Promise<{ believed: Believed; header: Header }> {
  let believed = opening.believed();
  const { tensors, record } = believed;
  const { values, source } = opening;
  const names = [...record.images];
  if (record.givenImage) names.push("given_image");
  if (record.givenMask) names.push("given_mask");
  names.push(...followedBy(record.controls.length).filter((name) => tensors.has(name)));
  const places = names.map((name) => tensors.get(name) as Tensor);
  const isSmall = places.reduce((sum, one) => sum + sizeOf(one), 0) <= IMAGES;
  const { factors } = record;
  const wanted = [...(factors ? [factors] : []), ...(isSmall ? places : [])];
  const data = await readRanges(source, wanted, signal);
  const numbers = factors && floats(data.shift() as Uint8Array);
  if (numbers?.some((one) => !Number.isFinite(one))) values.infinite.add("factors");
  data.forEach((one, i) => {
    values.images.set(names[i] as string, quietly(() => imageInfo(one)) ?? fault("it is no PNG"));
  });
  if (wanted.length > 0) believed = opening.believed();
  return { believed, header: pageHeader(believed.record, 1, numbers && [...numbers]) };
}

export const sizeOf = ({ from, to }: Tensor) => to - from;

function joined(one: Uint8Array, other: Uint8Array): Uint8Array {
  const both = new Uint8Array(one.length + other.length);
  both.set(one);
  both.set(other, one.length);
  return both;
}

function fault(error: unknown): Fault {
  if (error instanceof Fault) return error;
  return new Fault(error instanceof Error ? error.message : String(error));
}

/** What `make` returns; undefined if it refuses. */
function quietly<T>(make: () => T): T | undefined {
  try {
    return make();
  } catch (error) {
    if (error instanceof Fault) return undefined;
    throw error;
  }
}
