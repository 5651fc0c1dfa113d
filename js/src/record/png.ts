// The settings inside a PNG that `Trace.save_image` or the Studio wrote (trace/png.py).

import { isPng } from "../lib/bytes";
import {
  LONGEST_PROMPT,
  MOST_CONTROLS,
  PARENT,
  SETTINGS_FORMAT,
  SOURCES,
  TEXT_KEY,
} from "../lib/contract";
import type { Told } from "./about";
import { chunksOf, crc32, inflated } from "./images";
import { parseJson } from "./json";
import { type Parent, parentOf } from "./parent";
import { dumps, type Json, type JsonObject, lengthOf } from "./python";
import { Fault, RefusedRecord } from "./refused";
import { checkedSettings, type Settings, settingsOf } from "./settings";

/** The characters of the longest record in a file. */
const LONGEST = 6 * (3 * LONGEST_PROMPT + SOURCES.most * SOURCES.name) + PARENT.text + 2 ** 16;
/** The most bytes that a compressed text may have, as in Pillow. */
const INFLATED = 2 ** 20;

/** What a PNG says about its run. */
export interface ImageSettings {
  /** All that is inside, as `read_record` returns it: plain data, not checked. */
  readonly record: Record<string, unknown>;
  /** Its settings, checked as `read_settings` checks them. */
  readonly settings: Settings;
  /** What the run was given beside settings, not in the file: "image", "mask", "depth", "latents". */
  readonly given: readonly string[];
  /** The run from which this one came, if that is known and right. */
  readonly parent: Parent | undefined;
}

/** The settings inside an image file. Rejects with `RefusedRecord` if it has none, or none that a
 * run takes. */
export async function settingsInImage(data: Uint8Array): Promise<ImageSettings> {
  const record = await recordInImage(data);
  const settings = record?.get("settings");
  if (record === undefined || !(settings instanceof Map)) {
    throw new RefusedRecord("This image has no settings inside.");
  }
  try {
    return {
      record: JSON.parse(dumps(record)),
      settings: checkedSettings(settings).settings,
      given: givenIn(record),
      parent: parentIn(record),
    };
  } catch (error) {
    if (error instanceof Fault) throw new RefusedRecord(error.message);
    throw error;
  }
}

/** What an image says about its run, for `about`; of fields that are not checked, only texts. */
export function toldBy({ record, settings, given, parent }: ImageSettings): Told {
  const text = (value: unknown) => (typeof value === "string" ? value : "");
  const object = (value: unknown) => Object(value) as Record<string, unknown>;
  const list = Array.isArray(record.sources) ? record.sources.slice(0, SOURCES.most) : [];
  const number = (value: unknown) => (typeof value === "number" ? value : null);
  const sources = list.map(object).map((source) => ({
    name: text(source.name),
    kind: text(source.kind),
    strength: number(source.strength),
    textStrength: number(source.text_strength),
    commit: text(source.commit),
    sha256: text(source.sha256),
  }));
  const all = Array.isArray(record.controls) ? record.controls.slice(0, MOST_CONTROLS) : [];
  const followed = all.map(object).map(({ name, strength, start, end }) => ({
    name: text(name),
    strength: number(strength) ?? 1,
    start: number(start) ?? 0,
    end: number(end) ?? 1,
  }));
  const guide = text(object(record.guide).function) || text(object(record.guide).name);
  const versions = Object.entries(object(record.versions)).filter(([, one]) => text(one) !== "");
  return {
    settings,
    task: text(record.task),
    model: text(record.model),
    expected: settings.steps ?? 0,
    steps: [],
    runSeconds: 0,
    complete: record.complete !== false,
    givenImage: given.includes("image"),
    guide: guide === "" ? undefined : new Map([["name", guide]]),
    prediction: text(record.prediction),
    predictionSource: text(record.prediction_source),
    fingerprint: text(record.fingerprint),
    versions: new Map(versions as [string, string][]),
    sources: sources.filter(({ name }) => name !== ""),
    controls: followed.filter(({ name }) => name !== ""),
    parent,
  };
}

/** What a run was given beside its settings, as its record and its task say. */
function givenIn(record: JsonObject): string[] {
  const said = record.get("given");
  const needed: Json[] = Array.isArray(said) ? [...said] : [];
  const task = record.get("task");
  if (["image to image", "inpainting", "outpainting"].includes(task as string)) {
    needed.push("image");
  }
  if (task === "inpainting") needed.push("mask");
  const given = [
    "image",
    "mask",
    "depth",
    "label_map",
    "neighbours",
    "latents",
    "control",
    "guide",
  ];
  return given.filter((name) => needed.includes(name));
}

/** The record inside an image file, its settings in today's format; undefined if it has none. */
async function recordInImage(data: Uint8Array): Promise<JsonObject | undefined> {
  try {
    const text = isOtherImage(data) ? undefined : await textInPng(data);
    if (text === undefined || lengthOf(text) > LONGEST) return undefined;
    const record = parseJson(text, "its JSON is ");
    if (!(record instanceof Map)) return undefined;
    return translated(record, PARENT.depth);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    throw new RefusedRecord(`No settings can be read from this image: ${error.message}.`);
  }
}

/** The record with its settings, and those of its parents, in today's format. */
function translated(record: JsonObject, parents: number): JsonObject {
  const today = new Map(record);
  today.set("settings", settingsOf(record) ?? null);
  today.set("settings_format", BigInt(SETTINGS_FORMAT));
  const parent = record.get("parent");
  today.delete("parent");
  const above = parent instanceof Map ? parent.get("record") : undefined;
  if (parents > 0 && parent instanceof Map && above instanceof Map) {
    today.set("parent", new Map(parent).set("record", translated(above, parents - 1)));
  }
  return today;
}

/** The parent of a record, where it is as a run has one. */
function parentIn(record: JsonObject): Parent | undefined {
  const given = record.get("parent");
  try {
    return given instanceof Map ? parentOf(given) : undefined;
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return undefined;
  }
}

/** Whether it is an image of another format, which has no place for a record. */
function isOtherImage(data: Uint8Array): boolean {
  const letters = String.fromCharCode(...data.subarray(0, 12));
  return (
    ["\xff\xd8\xff", "GIF8", "BM"].some((one) => letters.startsWith(one)) ||
    (letters.startsWith("RIFF") && letters.endsWith("WEBP"))
  );
}

/** The last text with our keyword before the pixels. */
async function textInPng(data: Uint8Array): Promise<string | undefined> {
  if (!isPng(data)) throw new Fault("it is no image of a known format");
  const numbers = new DataView(data.buffer, data.byteOffset, data.byteLength);
  let found: string | undefined;
  for (const { type, from, to } of chunksOf(data)) {
    if (type === "IDAT" || type === "IEND") break;
    if (crc32(data.subarray(from - 4, to)) !== numbers.getUint32(to)) {
      throw new Fault(`the PNG's chunk ${JSON.stringify(type)} is damaged`);
    }
    found = (await textOf(type, data.subarray(from, to))) ?? found;
  }
  return found;
}

/** The text of a chunk with our keyword. */
async function textOf(type: string, data: Uint8Array): Promise<string | undefined> {
  const end = data.indexOf(0);
  const keyword = String.fromCharCode(...data.subarray(0, Math.min(end, 80)));
  if (keyword !== TEXT_KEY) return undefined;
  const rest = data.subarray(end + 1);
  if (type === "tEXt") return latin(rest);
  if (type === "zTXt") {
    const [method = 0] = rest;
    if (method !== 0) throw new Fault("its text is compressed in an unknown way");
    return latin((await whole(rest.subarray(1))) ?? new Uint8Array());
  }
  if (type !== "iTXt") return undefined;
  const language = rest.indexOf(0, 2);
  const translated = language < 0 ? -1 : rest.indexOf(0, language + 1);
  if (translated < 0) return undefined;
  const text = rest.subarray(translated + 1);
  const isPacked = rest[0] !== 0;
  if (isPacked && rest[1] !== 0) return undefined;
  const bytes = isPacked ? await whole(text) : text;
  try {
    return bytes && new TextDecoder("utf-8", { fatal: true, ignoreBOM: true }).decode(bytes);
  } catch {
    return undefined; // no UTF-8
  }
}

const latin = (data: Uint8Array) => Array.from(data, (byte) => String.fromCharCode(byte)).join("");

/** The bytes that zlib's data hold; undefined if they are broken. */
async function whole(data: Uint8Array): Promise<Uint8Array | undefined> {
  const reader = inflated([data]).getReader();
  const parts: Uint8Array[] = [];
  let size = 0;
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) break;
      parts.push(value);
      size += value.length;
      if (size > INFLATED)
        throw new Fault("Decompressed data too large for PngImagePlugin.MAX_TEXT_CHUNK");
    }
  } catch (error) {
    void reader.cancel().catch(() => {});
    if (error instanceof Fault) throw error;
    return undefined;
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
