// The settings inside images, or why there are none, in the words of Python.

import { expect, test } from "vitest";
import { unzipped, unzippedJson } from "../../test/records";
import refused from "../../test/refused.json?raw";
import { RefusedRecord, settingsInImage } from "./index";

interface Case {
  what: string;
  size: number;
  said?: string;
  record?: object;
  settings?: object;
  given?: string[];
  parent?: string; // how it came from another run, where that is right
}

const { images, image_cases } = JSON.parse(refused) as { images: string; image_cases: string };
const all = await unzipped(images);
let start = 0;
const cases = await unzippedJson<Case[]>(image_cases);
const numbered = cases.map((one) => {
  start += one.size;
  return [one.what, all.subarray(start - one.size, start), one] as const;
});

test.each(numbered)("%s", async (_, data, { said, parent, ...wanted }) => {
  if (said === undefined) {
    const { parent: found, ...rest } = await settingsInImage(data);
    expect(rest).toEqual({ record: wanted.record, settings: wanted.settings, given: wanted.given });
    expect(found?.how).toBe(parent);
    return;
  }
  const reading = settingsInImage(data);
  await expect(reading).rejects.toBeInstanceOf(RefusedRecord);
  // what a decoder says is its own
  const start = said.match(/^.*from this image: (?=\.\.\.)/)?.[0];
  const message = await reading.catch(({ message }: Error) => message);
  if (start !== undefined) expect(message).toContain(start);
  else expect(message).toBe(said);
});
