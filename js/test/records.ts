// Recorded runs as Python packs them, and what it makes of them: tests/golden_records.py writes them.

import { withBytes } from "../src/standalone";
import records from "./records.json";

type Bytes = { $bytes: string };

export interface Golden {
  file: Bytes;
  header: object;
  state: string;
  message: string;
  frames: Bytes[];
  pictures: object[];
  records: string[]; // the text in each image's PNG
  page: { html: string; data: object } | null; // exported, with digests in place of bytes
  settings: object;
  notices: string[];
}

/** What gzip packed, from base64. */
export async function unzipped(base64: string): Promise<Uint8Array> {
  const packed = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

/** The JSON that gzip packed, from base64. */
export const unzippedJson = async <T>(base64: string) =>
  JSON.parse(new TextDecoder().decode(await unzipped(base64))) as T;

export const golden = await unzippedJson<{
  files: Record<string, Golden>;
  labels: { of: string[]; are: string[] };
}>(records.gzip);

export const bytesOf = (value: Bytes | undefined) => withBytes(value) as Uint8Array;

/** The bytes of a file. */
export const fileOf = (name: string) => bytesOf(golden.files[name]?.file);
