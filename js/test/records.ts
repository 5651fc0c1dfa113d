// Recorded runs as Python packs them, and what it makes of them: tests/golden_records.py writes them.

import { withBytes } from "../src/standalone";
import text from "./records.json?raw"; // as text: Vite refuses half a character in JSON

type Bytes = { $bytes: string };

export interface Golden {
  file: Bytes;
  header: object;
  state: string;
  message: string;
  frames: Bytes[];
  pictures: object[];
  records: string[]; // the text in each image's PNG
  settings: object;
  notices: string[];
}

export const golden = JSON.parse(text) as {
  files: Record<string, Golden>;
  labels: { of: string[]; are: string[] };
};

export const bytesOf = (value: Bytes | undefined) => withBytes(value) as Uint8Array;

/** The bytes of a file. */
export const fileOf = (name: string) => bytesOf(golden.files[name]?.file);
