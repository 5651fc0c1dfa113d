import { expect, test } from "vitest";
import { change, clean, diverging, extent, factorsFor, guided, preview, signed } from "./latents";
import type { Frame } from "./reel";

const size = [2, 2, 1, 2] as const; // two images of two channels, one pixel high and two wide
const factors = [
  [0.5, 0, 0],
  [0, 0.25, 0],
  [0, 0, 0.1],
] as const;
const latents = Float32Array.of(9, 9, 9, 9, 1, -1, 2, 8);

const frame = {
  denoised: Float32Array.of(5),
  uncond: Float32Array.of(1),
  difference: Float32Array.of(0.5),
} as unknown as Frame;
const plain = { denoised: Float32Array.of(5) } as unknown as Frame;

test("a preview is the matrix product, from [-1, 1] to bytes, cut at both ends", () => {
  const { pixels, w, h } = preview(latents, size, 1, factors);
  expect([w, h]).toEqual([2, 1]);
  // red 0.5 x 1, -1; green 0.25 x 2, 8 (too much); blue the constant
  expect([...pixels]).toEqual([191, 191, 140, 255, 64, 255, 140, 255]);
});

test("what is no number is grey, as in the kernel's preview", () => {
  const { pixels } = preview(new Float32Array(8).fill(Number.NaN), size, 0, factors);
  expect([...pixels.subarray(0, 4)]).toEqual([128, 128, 128, 255]);
});

test("latents of other channels than the factors are for show their first three", () => {
  expect(factorsFor(2, factors)).toBe(factors);
  expect(factorsFor(1, factors)).toEqual([
    [0.5, 0, 0],
    [0, 0, 0],
  ]);
  expect(factorsFor(4, []).at(3)).toEqual([0, 0, 0]);
});

test("guidance weighs the difference", () => {
  expect([...(guided(frame, 7) ?? [])]).toEqual([4.5]);
  expect(guided(plain, 7)).toBeUndefined();
});

test("the clean latents are the run's unless another guidance is asked for and possible", () => {
  expect([...(clean(frame, null) ?? [])]).toEqual([5]);
  expect([...(clean(frame, 0) ?? [])]).toEqual([1]);
  expect([...(clean(plain, 0) ?? [])]).toEqual([5]);
});

test("no change is grey, and the constant plays no part", () => {
  const { pixels, gain } = change(latents, latents, size, 1, factors);
  expect([...pixels.subarray(0, 4)]).toEqual([128, 128, 128, 255]);
  expect(gain).toBe(1);
});

test("small changes are shown stronger, by a power of two, large ones as they are", () => {
  const little = latents.map((value, i) => value + (i === 4 ? 0.2 : 0)); // 0.1 of red
  expect(change(little, latents, size, 1, factors).gain).toBe(8);
  expect(change(little, latents, size, 1, factors).pixels[0]).toBe(230); // 0.8
  const much = latents.map((value, i) => value + (i === 4 ? 3 : 0));
  expect(change(much, latents, size, 1, factors).gain).toBe(1);
});

test("what makes an image brighter is warm, darker cool, as far as the strongest", () => {
  const { pixels } = signed(Float32Array.of(1, -1, 0, 0, 0, 0, 0, 0), size, 0, factors);
  expect([...pixels.subarray(0, 3)]).toEqual([255, 156, 38]);
  expect([...pixels.subarray(4, 7)]).toEqual([41, 128, 246]);
});

test("a channel is grey at nothing, orange and blue at the ends of the scale", () => {
  const { pixels } = diverging(latents, size, 1, 0, 1);
  expect([...pixels.subarray(0, 3)]).toEqual([255, 156, 38]);
  expect([...pixels.subarray(4, 7)]).toEqual([41, 128, 246]);
  expect(diverging(latents, size, 1, 1, 8).pixels[0]).toBe(159);
});

test.each([
  [8, 8],
  [2.1, 3],
  [0.43, 0.5],
  [0.011, 0.015],
  [9.2, 10],
])("values up to %d are shown on a scale up to %d", (most, end) => {
  expect(extent(Float32Array.of(0, 0, 0, 0, 0, -most, 0, 0), size, 1)).toBe(end);
});

test("the scale is that of the image on show, and one where there is nothing", () => {
  expect(extent(Float32Array.of(7, 0, 0, 0, 0, 0, 0, 0), size, 1)).toBe(1);
});
