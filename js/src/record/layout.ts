// Where everything is in a file: its header, checked before any tensor is believed (trace/file.py).

import { RECORD } from "../lib/contract";
import { formatOf, PREFIX } from "./formats";
import { parseObject } from "./json";
import { ascii, commas, first, type Json, type JsonObject, short } from "./python";
import { Fault, Unreadable } from "./refused";

export type Type = keyof typeof TYPES;

/** A tensor of the file; `from` and `to` count from the file's start. */
export interface Tensor {
  readonly type: Type;
  readonly shape: readonly number[];
  readonly from: number;
  readonly to: number;
}

/** The sizes of the types in bytes, and their names in Python. */
export const TYPES = {
  BOOL: [1, "bool"],
  U8: [1, "uint8"],
  I8: [1, "int8"],
  U16: [2, "uint16"],
  I16: [2, "int16"],
  U32: [4, "uint32"],
  I32: [4, "int32"],
  U64: [8, "uint64"],
  I64: [8, "int64"],
  F16: [2, "float16"],
  F32: [4, "float32"],
  F64: [8, "float64"],
} as const;

export const DIGEST = 64; // characters
const JSON_IS = "its JSON is "; // the start of a refusal of it
const BEFORE_DIGEST = new TextEncoder().encode('"sdtrace":"{\\"sha256\\":\\"');
const OFFSETS = new TextEncoder().encode('"data_offsets"');
const METADATA = "__metadata__";

/** The bytes of a file's start that hold its length and its header; refused if it is no record. */
export function headerEnd(start: Uint8Array, size: number): number {
  let length = 0;
  for (let i = Math.min(start.length, 8) - 1; i >= 0; i--) length = length * 256 + (start[i] ?? 0);
  if (start[8] !== 0x7b || length > Math.min(RECORD.header, size - 8)) {
    throw new Unreadable(whyNot(start.subarray(0, PREFIX), size, length));
  }
  if (size > RECORD.file) {
    throw new Unreadable(
      `has ${commas(size)} bytes; a recording has at most ${commas(RECORD.file)}`,
    );
  }
  return 8 + length;
}

function whyNot(start: Uint8Array, size: number, length: number): string {
  // A cut recording first: its eight bytes of length may look like the start of anything.
  if (start[8] === 0x7b && start[9] === 0x22 && length <= RECORD.header) {
    return `is cut: it has ${commas(size)} bytes, its header alone ${commas(length)}`;
  }
  const what = formatOf(start);
  if (what !== undefined) {
    const hint = what === "a PNG image" ? " (read_settings reads those)" : "";
    return `is ${what}${hint}, not a recording`;
  }
  return `is not a recording: its ${commas(size)} bytes begin otherwise`;
}

/** The header in the bytes up to `headerEnd`, and where the digest is. */
export function headerOf(bytes: Uint8Array, size: number): { header: JsonObject; digest: number } {
  const place = indexOf(bytes, BEFORE_DIGEST, 8);
  if (place < 0) throw new Unreadable("is a safetensors file, but not a recording");
  let commaCount = 0;
  for (const byte of bytes) if (byte === 0x2c) commaCount++;
  if (commaCount > RECORD.values || countOf(bytes, OFFSETS) > RECORD.tensors) {
    throw new Unreadable("has more parts than any recording"); // before parsing makes them
  }
  const header = parseObject(bytes.subarray(8), JSON_IS);
  const promised = BigInt(bytes.length) + bodyOf(header);
  if (promised !== BigInt(size)) {
    const what = BigInt(size) < promised ? "is cut" : "is damaged";
    throw new Unreadable(
      `${what}: it has ${commas(size)} bytes, its header promises ${commas(promised)}`,
    );
  }
  return { header, digest: place + BEFORE_DIGEST.length };
}

/** The bytes that the tensors of a header take. */
function bodyOf(header: JsonObject): bigint {
  const ends = [...header].filter(([name]) => name !== METADATA).map(([, one]) => endOf(one));
  let most: bigint | number = ends[0] ?? 0n;
  for (const end of ends) if (end > most) most = end;
  return typeof most === "bigint" ? most : BigInt(Math.trunc(most));
}

function endOf(tensor: Json): bigint | number {
  const place = tensor instanceof Map ? tensor.get("data_offsets") : undefined;
  const end = Array.isArray(place) ? place[1] : undefined;
  if (typeof end === "bigint" || typeof end === "number") return end;
  if (typeof end === "boolean") return BigInt(end);
  throw new Fault("its header does not say where a tensor is");
}

/** The JSON of the record. */
export function metaOf(header: JsonObject): JsonObject {
  const notes = header.get(METADATA);
  const text = notes instanceof Map ? notes.get("sdtrace") : undefined;
  const meta: JsonObject = typeof text === "string" ? parseObject(text, JSON_IS) : new Map();
  const version = meta.get("format");
  if (typeof version !== "bigint" || version < 1) throw new Fault("it does not say its format");
  if (version > RECORD.format) {
    throw new Unreadable(
      `was made by a newer version of sdwidgets: format ${version}, this one reads ${RECORD.format}`,
    );
  }
  return meta;
}

/** The tensors by name, one behind the other without holes; `start` is where the first begins. */
export function tensorsOf(header: JsonObject, start: number): Map<string, Tensor> {
  const tensors = new Map<string, Tensor>();
  for (const [name, given] of header) {
    if (name === METADATA) continue;
    const [type, shape, place] = ["dtype", "shape", "data_offsets"].map((each) =>
      (given as JsonObject).get(each),
    );
    const shown = () => ascii(first(name, 60));
    if (typeof type !== "string" || !Object.hasOwn(TYPES, type) || !areSizes(shape)) {
      throw new Fault(`${shown()} is ${short(type)} ${short(shape)}`);
    }
    const sizes = shape.map(Number);
    const size = sizes.reduce((product, side) => product * side, TYPES[type as Type][0]);
    const [from, to] = areSizes(place) ? place.map(Number) : [];
    if (
      from === undefined ||
      to === undefined ||
      !(areSizes(place) && place.length === 2) ||
      to - from !== size
    ) {
      throw new Fault(`${shown()} does not have the size that its shape needs`);
    }
    tensors.set(name, { type: type as Type, shape: sizes, from: start + from, to: start + to });
  }
  const places = [...tensors.values()].sort((a, b) => a.from - b.from || a.to - b.to);
  let end = start;
  for (const { from, to } of places) {
    if (from !== end) throw new Fault("its tensors are not laid out right");
    end = to;
  }
  return tensors;
}

/** Whether it is a list of a few whole numbers, none below 0. */
const areSizes = (value: Json | undefined): value is bigint[] =>
  Array.isArray(value) &&
  value.length <= 8 &&
  value.every((size) => typeof size === "bigint" && size >= 0 && size <= RECORD.file);

function indexOf(bytes: Uint8Array, wanted: Uint8Array, from: number): number {
  const [letter] = wanted as unknown as [number];
  for (let at = bytes.indexOf(letter, from); at >= 0; at = bytes.indexOf(letter, at + 1)) {
    if (at + wanted.length > bytes.length) return -1;
    if (wanted.every((byte, i) => bytes[at + i] === byte)) return at;
  }
  return -1;
}

function countOf(bytes: Uint8Array, wanted: Uint8Array): number {
  let count = 0;
  let at = indexOf(bytes, wanted, 0);
  while (at >= 0) {
    count++;
    at = indexOf(bytes, wanted, at + wanted.length);
  }
  return count;
}
