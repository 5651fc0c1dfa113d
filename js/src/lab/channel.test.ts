import { expect, test } from "vitest";
import { amounts, cellAfter, gridOf, histogram, most, plane, steps, summary } from "./channel";

const grid = (values: number[], channels = 1) => ({
  values: Float32Array.from(values),
  channels,
  width: values.length / channels,
  height: 1,
});
const colour = ({ pixels }: { pixels: Uint8ClampedArray }, i: number) =>
  [...pixels.subarray(4 * i, 4 * i + 3)] as [number, number, number];

test("numbers are read only where they have the size they say", () => {
  const data = new Uint8Array([0, 0x3c, 0, 0xc0]); // 1 and -2 as float16
  expect([...(gridOf(data, { channels: 2, width: 1, height: 1 })?.values ?? [])]).toEqual([1, -2]);
  expect(gridOf(data, { channels: 3, width: 1, height: 1 })).toBeUndefined();
  expect(gridOf(null, { channels: 2, width: 1, height: 1 })).toBeUndefined();
});

test("a channel is grey at 0, warm above and cool below, and no more so beyond the end", () => {
  const shown = plane(grid([0, 1, -1, 5]), 0, 1);
  const [zero, above, below, beyond] = [0, 1, 2, 3].map((i) => colour(shown, i));
  expect(new Set(zero).size).toBe(1);
  expect(above?.[0]).toBeGreaterThan(above?.[2] as number);
  expect(below?.[2]).toBeGreaterThan(below?.[0] as number);
  expect(beyond).toEqual(above);
});

test("what is no number looks like 0", () => {
  const shown = plane(grid([0, Number.NaN]), 0, 1);
  expect(colour(shown, 1)).toEqual(colour(shown, 0));
});

test("all channels together are their mean", () => {
  const shown = plane(grid([1, 2, -1, 2], 2), -1, 2);
  expect(colour(shown, 0)).toEqual(colour(plane(grid([0]), 0, 2), 0));
  expect(colour(shown, 1)).toEqual(colour(plane(grid([2]), 0, 2), 0));
});

test("amounts go from dark to bright", () => {
  const shown = amounts(grid([0, 2]), 0, 2);
  expect(colour(shown, 0)).toEqual([0, 0, 4]);
  expect(colour(shown, 1)).toEqual([252, 253, 191]);
});

test("a histogram counts every number once, those beyond in the last steps", () => {
  expect(histogram(grid([-9, -1, 0, 0.9, 1, 9]), 0, 1, -1, 4)).toEqual([2, 0, 1, 3]);
  expect(histogram(grid([0, 0.4, 1]), 0, 1, 0, 2)).toEqual([2, 1]);
  expect(histogram(grid([Number.NaN, 0]), 0, 1, -1, 2)).toEqual([0, 1]);
});

test("a histogram's outline is closed and its highest step touches the top", () => {
  expect(steps([1, 2], 10, 4)).toBe("M0 4L0.0 2.0L5.0 2.0L5.0 0.0L10.0 0.0L10 4Z");
});

test("a channel's numbers are its own", () => {
  expect(summary(grid([7, 7, 1, 3], 2), 1)).toEqual({ mean: 2, std: 1, min: 1, max: 3 });
});

test("the scale ends at a plain number, whatever comes", () => {
  expect(most(Float32Array.of(0.1, -2.7))).toBe(3);
  expect(most(Float32Array.of(Number.NaN, 0))).toBe(1);
});

test("a few large numbers do not hide the others", () => {
  expect(most(Float32Array.of(...new Array(199).fill(1), -50))).toBe(1);
});

test("arrow keys move a cell, not over the edge, and begin in the middle", () => {
  expect(cellAfter("ArrowLeft", { x: 1, y: 2 }, 4, 4)).toEqual({ x: 0, y: 2 });
  expect(cellAfter("ArrowLeft", { x: 0, y: 2 }, 4, 4)).toEqual({ x: 0, y: 2 });
  expect(cellAfter("ArrowDown", undefined, 4, 4)).toEqual({ x: 2, y: 3 });
  expect(cellAfter("Enter", undefined, 4, 4)).toBeUndefined();
});
