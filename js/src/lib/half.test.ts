import { expect, test } from "vitest";
import { halves } from "./half";

const read = (...bits: number[]) =>
  halves(Uint8Array.from(bits.flatMap((half) => [half & 255, half >> 8])))[0];

test.each([
  ["one", 0x3c00, 1],
  ["minus two", 0xc000, -2],
  ["a third, as near as it comes", 0x3555, 0.333251953125],
  ["the largest", 0x7bff, 65504],
  ["the smallest normal one", 0x0400, 2 ** -14],
  ["the smallest of all", 0x0001, 2 ** -24],
  ["minus nothing", 0x8000, -0],
  ["infinity", 0x7c00, Number.POSITIVE_INFINITY],
  ["minus infinity", 0xfc00, Number.NEGATIVE_INFINITY],
  ["no number", 0x7e00, Number.NaN],
])("%s", (_, bits, value) => {
  expect(read(bits)).toBe(value);
});

test("several, from the middle of a buffer that begins anywhere", () => {
  const data = Uint8Array.of(9, 0x00, 0x3c, 0x00, 0x38, 9).subarray(1, 5);
  expect([...halves(data)]).toEqual([1, 0.5]);
});
