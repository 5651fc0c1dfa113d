// Whatever the bytes of a file are, it is read or refused, and nothing else happens.

import { expect, test } from "vitest";
import { sealed } from "../../test/packed";
import { fileOf } from "../../test/records";
import { bytesSource, openRecord, RefusedRecord, settingsInImage } from "./index";

/** Numbers from 0 to below `most`, the same ones in every run (a linear congruential generator with
 * the numbers of Numerical Recipes). */
function chance(seed: number) {
  let state = seed;
  return (most: number) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * most);
  };
}

/** The file with a few changes: bits, letters of JSON, parts cut out, doubled or swapped. */
function mutated(data: Uint8Array, draw: (most: number) => number, header: number): Uint8Array {
  let out = data.slice();
  for (let i = 1 + draw(3); i > 0; i--) {
    const place = draw(draw(4) === 0 ? out.length : Math.min(header, out.length));
    const size = 1 + draw(40);
    const how = draw(6);
    if (how === 0) out[place] = (out[place] ?? 0) ^ (1 << draw(8));
    else if (how === 1) out[place] = '{}[]":,\\0919e.-nft '.charCodeAt(draw(20));
    else if (how === 2) out = out.slice(0, place);
    else if (how === 3) out.copyWithin(place, place + size);
    else if (how === 4) out.copyWithin(draw(out.length), place, place + size);
    else out.fill(draw(256), place, place + size);
  }
  return out;
}

const headerOf = (data: Uint8Array) =>
  8 + new DataView(data.buffer, data.byteOffset).getUint32(0, true);

test.each(["rich", "heads float16", "loop", "format 1"])("%s, changed", async (name) => {
  const data = fileOf(name);
  const draw = chance(name.length);
  const end = headerOf(data);
  let [taken, refused] = [0, 0];
  for (let i = 0; i < 150; i++) {
    const bytes = mutated(data, draw, end);
    // with a digest that fits, more than the digest is tried
    const file = draw(4) > 0 && bytes.length > 8 ? await sealed(bytes) : bytes;
    try {
      const opened = await openRecord(bytesSource(file), { name: "a" });
      await Promise.all([opened.checked, opened.images, opened.frames()]);
      taken++;
    } catch (error) {
      if (!(error instanceof RefusedRecord)) throw error;
      expect(error.message).toMatch(/^'a' (is|has|was) /);
      expect(error.message.split("\n").length).toBeLessThanOrEqual(3);
      refused++;
    }
  }
  expect(taken + refused).toBe(150);
  expect(refused).toBeGreaterThan(50);
});

test("an image's settings, changed", async () => {
  const file = await openRecord(bytesSource(fileOf("rich")));
  const [image] = await file.images;
  const data = image as Uint8Array;
  const draw = chance(1);
  let refused = 0;
  for (let i = 0; i < 200; i++) {
    try {
      await settingsInImage(mutated(data, draw, data.length));
    } catch (error) {
      if (!(error instanceof RefusedRecord)) throw error;
      refused++;
    }
  }
  expect(refused).toBeGreaterThan(50);
});
