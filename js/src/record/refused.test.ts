// Files that are wrong: refused, or taken with a notice, in the words of Python.

import { expect, test } from "vitest";
import { unzipped, unzippedJson } from "../../test/records";
import refused from "../../test/refused.json?raw";
import { bytesSource, openRecord, RefusedRecord } from "./index";

interface Case {
  what: string;
  size: number;
  said?: string; // why Python refuses it
  notices?: string[]; // what it says about a file that it takes
}

const { files, cases: packed } = JSON.parse(refused) as { files: string; cases: string };
const cases = await unzippedJson<Case[]>(packed);

/** The verdict on a file once all of it was checked. */
async function verdict(data: Uint8Array): Promise<Pick<Case, "said" | "notices">> {
  try {
    const file = await openRecord(bytesSource(data), { name: "run.sdtrace" });
    await file.checked;
    await file.frames();
    return { notices: [...file.meta.notices] };
  } catch (error) {
    if (!(error instanceof RefusedRecord)) throw error;
    return { said: error.message };
  }
}

const all = await unzipped(files);
let start = 0;
const numbered = cases.map((one) => {
  start += one.size;
  return [one.what, all.subarray(start - one.size, start), one] as const;
});

test.each(numbered)("%s", async (_, data, { what, size, ...wanted }) => {
  const { said, notices } = await verdict(data);
  // what a decoder says is its own
  const start = wanted.said?.match(/^.*cannot be read: (?=\.\.\.)/)?.[0];
  if (start !== undefined) expect(said).toContain(start);
  else expect({ said, notices }).toEqual({ said: wanted.said, notices: wanted.notices });
});
