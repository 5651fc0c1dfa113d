// What a file says of the run that made it: an .sdtrace in its header, a PNG in a text chunk. Only
// the start of the file is read, and nothing in it is trusted: cell.ts and the kernel check it.

import { isPng } from "./bytes";
import { RECORD, TEXT_KEY } from "./contract";
import type { Values } from "./older";
import type { Source } from "./source";

export interface Place {
  from: number;
  to: number;
}

export interface Inside {
  kind: "record" | "image";
  made: Values; // as `Trace.record` returns it
  attention: boolean; // whether the words' maps were recorded
  image: Place | undefined; // where the start image is in a record, a PNG
  mask: Place | undefined; // and its mask
  more: More[]; // what else it was given
}

/** A label map (uint16, of that shape) or a neighbour (a PNG) in a record. */
export interface More extends Place {
  name: string; // "label_map", "neighbour.0" and so on
  shape?: number[];
}

/** The ending of a record's name. */
export const ENDING = ".sdtrace";

/** Whether a file of that name should be a record. */
export const isRecord = (name: string) => name.toLowerCase().endsWith(ENDING);

const TEXT = 8 * 2 ** 20; // bytes, more than any version writes

/** What is inside; undefined for a file of another kind, one without settings or a damaged one. */
export async function inside(file: Source): Promise<Inside | undefined> {
  if (file.size < 12) return undefined;
  const start = await file.read(0, 8);
  try {
    return await (isPng(start) ? inImage : inRecord)(file);
  } catch (error) {
    if (error instanceof SyntaxError || error instanceof TypeError) return undefined; // no such JSON
    throw error;
  }
}

const decoded = (data: Uint8Array) => new TextDecoder("utf-8", { fatal: true }).decode(data);
const view = (data: Uint8Array) => new DataView(data.buffer, data.byteOffset, data.byteLength);

async function inRecord(file: Source): Promise<Inside | undefined> {
  const length = Number(view(await file.read(0, 8)).getBigUint64(0, true));
  if (length > RECORD.header || 8 + length > file.size) return undefined;
  const header = JSON.parse(decoded(await file.read(8, 8 + length)));
  const made = JSON.parse(header.__metadata__.sdtrace);
  if (made === null || typeof made !== "object") return undefined;
  const given = ["image", "mask", "depth", "label_map", "latents"].filter(
    (name) => `given_${name}` in header,
  );
  if ("given_neighbour.0" in header) given.push("neighbours");
  if ("given_control.0" in header) given.push("control");
  if ("guide" in made) given.push("guide");
  const place = (name: string): Place | undefined => {
    const [begin, end] = header[name]?.data_offsets ?? [];
    const isThere = Number.isInteger(begin) && begin >= 0 && begin < end;
    const at = { from: 8 + length + begin, to: 8 + length + end };
    return isThere && at.to <= file.size ? at : undefined;
  };
  const attention = Object.keys(made.layers?.cross ?? {}).length > 0;
  const { model, task, settings, settings_format, complete, fingerprint, sources } = made;
  const { controls, guide } = made;
  const kept = { model, task, settings, settings_format, complete, fingerprint, sources, controls };
  const known = Object.entries({ ...kept, guide, given }).filter(
    ([, value]) => value !== undefined,
  );
  return {
    kind: "record",
    made: Object.fromEntries(known),
    attention,
    image: place("given_image"),
    mask: place("given_mask"),
    more: moreIn(header, place),
  };
}

/** The label map and the neighbours of a record. */
function moreIn(header: Values, place: (name: string) => Place | undefined): More[] {
  const more: More[] = [];
  const map = place("given_label_map");
  const shape = (header.given_label_map as { shape?: number[] } | undefined)?.shape;
  if (map && Array.isArray(shape)) more.push({ name: "label_map", ...map, shape });
  for (let i = 0; `given_neighbour.${i}` in header; i++) {
    const image = place(`given_neighbour.${i}`);
    if (image) more.push({ name: `neighbour.${i}`, ...image });
  }
  return more;
}

/** The text chunk "sdwidgets" stands before the pixels (PNG specification, 11.3.3.4: iTXt). */
async function inImage(file: Source): Promise<Inside | undefined> {
  for (let at = 8; at + 12 <= file.size; ) {
    const head = await file.read(at, at + 8);
    const length = view(head).getUint32(0);
    const type = String.fromCharCode(...head.subarray(4));
    if (type === "IDAT" || type === "IEND" || at + 12 + length > file.size) return undefined;
    if (type === "iTXt" && length <= TEXT) {
      const data = await file.read(at + 8, at + 8 + length);
      const text = textOf(data);
      if (text !== undefined) {
        const made = JSON.parse(text);
        const isObject = typeof made === "object" && typeof made?.settings === "object";
        return isObject
          ? { kind: "image", made, attention: false, image: undefined, mask: undefined, more: [] }
          : undefined;
      }
    }
    at += 12 + length;
  }
  return undefined;
}

/** The text of an uncompressed chunk with our key. */
function textOf(data: Uint8Array): string | undefined {
  const key = data.indexOf(0);
  if (key < 0 || decoded(data.subarray(0, key)) !== TEXT_KEY || data[key + 1] !== 0)
    return undefined;
  const language = data.indexOf(0, key + 3);
  const translated = data.indexOf(0, language + 1);
  return language < 0 || translated < 0 ? undefined : decoded(data.subarray(translated + 1));
}
