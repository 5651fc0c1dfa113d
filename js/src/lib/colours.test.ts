import { expect, test } from "vitest";
import { coloured, colours, rgba } from "./colours";

test.each([
  ["magma", 0, [0, 0, 4]],
  ["magma", 77, [101, 26, 128]],
  ["magma", 128, [183, 55, 121]],
  ["magma", 255, [252, 253, 191]],
  ["viridis", 0, [68, 1, 84]],
  ["viridis", 128, [33, 145, 140]],
  ["viridis", 255, [253, 231, 37]],
  ["grey", 128, [128, 128, 128]],
] as const)("%s at %d is matplotlib's colour to 1/255", (map, at, rgb) => {
  const found = [...colours(map).subarray(3 * at, 3 * at + 3)];
  found.forEach((channel, i) => {
    expect(Math.abs(channel - (rgb[i] as number))).toBeLessThanOrEqual(1);
  });
});

test("values become opaque colours, and those outside 0..1 the ends'", () => {
  const pixels = coloured(Float32Array.of(-1, 0, 1, 2), "grey");
  expect([...pixels]).toEqual([0, 0, 0, 255, 0, 0, 0, 255, 255, 255, 255, 255, 255, 255, 255, 255]);
});

test("RGB becomes opaque RGBA", () => {
  expect([...rgba(new Uint8Array([1, 2, 3, 4, 5, 6]))]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
});
