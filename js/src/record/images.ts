// PNG files in a record: their size and mode before any pixel is decoded, and text put into them.

import { isPng } from "../lib/bytes";
import { IMAGE_MODES, MOST_PIXELS } from "../lib/contract";
import { Fault } from "./refused";
import type { ImageInfo } from "./tensors";

/** A chunk of a PNG: its type, and where its data begin and end. */
export interface Chunk {
  type: string;
  from: number;
  to: number;
}

/** Colour type and bits -> Pillow's mode, and the samples of a pixel. */
const MODES: Record<string, [string, number]> = {
  "0,1": ["1", 1],
  "0,2": ["L", 1],
  "0,4": ["L", 1],
  "0,8": ["L", 1],
  "0,16": ["I;16", 1],
  "2,8": ["RGB", 3],
  "2,16": ["RGB", 3],
  "3,1": ["P", 1],
  "3,2": ["P", 1],
  "3,4": ["P", 1],
  "3,8": ["P", 1],
  "4,8": ["LA", 2],
  "4,16": ["LA", 2],
  "6,8": ["RGBA", 4],
  "6,16": ["RGBA", 4],
};

/** The chunks, one after another; a `Fault` where there is no whole one. */
export function* chunksOf(data: Uint8Array): Generator<Chunk> {
  if (!isPng(data)) throw new Fault("it is no PNG");
  const numbers = new DataView(data.buffer, data.byteOffset, data.byteLength);
  for (let at = 8; ; ) {
    if (at + 12 > data.length) throw new Fault("the PNG is cut");
    const length = numbers.getUint32(at);
    const type = String.fromCharCode(...data.subarray(at + 4, at + 8));
    if (at + 12 + length > data.length) throw new Fault("the PNG is cut");
    yield { type, from: at + 8, to: at + 8 + length };
    if (type === "IEND") return;
    at += 12 + length;
  }
}

/** The size and the mode, from the header of a PNG; a `Fault` if it has none. */
export function imageInfo(data: Uint8Array): ImageInfo {
  const numbers = new DataView(data.buffer, data.byteOffset, data.byteLength);
  if (!isPng(data) || data.length < 33) throw new Fault("it is no PNG");
  if (numbers.getUint32(8) !== 13 || String.fromCharCode(...data.subarray(12, 16)) !== "IHDR") {
    throw new Fault("the PNG has no header");
  }
  if (crc32(data.subarray(12, 29)) !== numbers.getUint32(29)) {
    throw new Fault("the PNG's header is damaged");
  }
  const [mode] = MODES[`${data[25]},${data[24]}`] ?? [];
  if (mode === undefined) throw new Fault("the PNG has colours of an unknown kind");
  return { width: numbers.getUint32(16), height: numbers.getUint32(20), mode };
}

/** Checks all of a PNG: its chunks, their sums, and that its pixels are all there. */
export async function checkImage(data: Uint8Array): Promise<ImageInfo> {
  const info = imageInfo(data);
  const { width, height, mode } = info;
  const [, samples] = MODES[`${data[25]},${data[24]}`] as [string, number];
  if (!(IMAGE_MODES as readonly string[]).includes(mode) || width * height > MOST_PIXELS) {
    return info; // refused by its header
  }
  const numbers = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const parts: Uint8Array[] = [];
  for (const { type, from, to } of chunksOf(data)) {
    const isCritical = type[0] === type[0]?.toUpperCase();
    if (isCritical && crc32(data.subarray(from - 4, to)) !== numbers.getUint32(to)) {
      throw new Fault(`the PNG's chunk ${JSON.stringify(type)} is damaged`);
    }
    if (type === "IDAT") parts.push(data.subarray(from, to));
  }
  if (data[28] === 0) {
    const wanted = height * (1 + Math.ceil((width * samples * (data[24] as number)) / 8));
    const found = await inflatedLength(parts, wanted);
    if (found < wanted) throw new Fault("the PNG's pixels are damaged");
  }
  return info;
}

/** How many bytes zlib's data hold, up to `most`; fewer if they are broken. */
async function inflatedLength(parts: readonly Uint8Array[], most: number): Promise<number> {
  const reader = inflated(parts).getReader();
  let length = 0;
  try {
    while (length < most) {
      const { done, value } = await reader.read();
      if (done) break;
      length += value.length;
    }
  } catch {
    // broken from here on
  }
  void reader.cancel().catch(() => {});
  return length;
}

/** What zlib's data hold. */
export function inflated(parts: readonly Uint8Array[]): ReadableStream<Uint8Array> {
  const blob = new Blob(parts as Uint8Array<ArrayBuffer>[]);
  return blob.stream().pipeThrough(new DecompressionStream("deflate"));
}

let table: Uint32Array | undefined;

/** CRC-32 as in PNG (annex D). */
export function crc32(data: Uint8Array): number {
  table ??= Uint32Array.from({ length: 256 }, (_, byte) => {
    let value = byte;
    for (let i = 0; i < 8; i++) value = value & 1 ? 0xedb88320 ^ (value >>> 1) : value >>> 1;
    return value;
  });
  let crc = 0xffffffff;
  for (let i = 0; i < data.length; i++) {
    crc = (table[(crc ^ (data[i] as number)) & 255] as number) ^ (crc >>> 8);
  }
  return (crc ^ 0xffffffff) >>> 0;
}

/** The PNG with an international text chunk after its header, as Pillow writes it. */
export function withText(png: Uint8Array, keyword: string, text: string): Uint8Array {
  const body = new TextEncoder().encode(`iTXt${keyword}\0\0\0\0\0${text}`);
  const out = new Uint8Array(png.length + body.length + 8);
  const numbers = new DataView(out.buffer);
  out.set(png.subarray(0, 33));
  numbers.setUint32(33, body.length - 4);
  out.set(body, 37);
  numbers.setUint32(37 + body.length, crc32(body));
  out.set(png.subarray(33), 41 + body.length);
  return out;
}
