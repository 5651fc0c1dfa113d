import { expect, test } from "vitest";
import { curveOf, heightOf, isPositive, nearest, pathOf, rangeOf } from "./curve";

const table = (...rows: number[][]) => new DataView(new Float32Array(rows.flat()).buffer);
const line = (...values: number[]) => ({ name: "loss", values, means: values });

test("a table is read by its columns", () => {
  const { steps, lines } = curveOf(table([1, 2, 3, 4, 5], [2, 6, 7, 8, 9]), ["loss", "other"]);
  expect(steps).toEqual([1, 2]);
  expect(lines).toEqual([
    { name: "loss", values: [2, 6], means: [3, 7] },
    { name: "other", values: [4, 8], means: [5, 9] },
  ]);
});

test("bytes that begin in the middle of a buffer are read from there", () => {
  const whole = new Uint8Array(new Float32Array([9, 1, 2, 3]).buffer);
  const { steps } = curveOf(new DataView(whole.buffer, 4), ["loss"]);
  expect(steps).toEqual([1]);
});

test.each([undefined, null, "text", new Uint8Array(7)])("of %s there is no row", (data) => {
  expect(curveOf(data, ["loss"]).steps).toEqual([]);
});

test("the range is that of what is finite", () => {
  expect(rangeOf(line(Number.NaN, 3, 1, Number.POSITIVE_INFINITY))).toEqual([1, 3]);
  expect(rangeOf(line(Number.NaN))).toBeUndefined();
});

test("a line with a value of zero or less has no logarithm", () => {
  expect(isPositive(line(1, Number.NaN, 0.1))).toBe(true);
  expect(isPositive(line(1, 0))).toBe(false);
});

test("a height is a share of the range, on either scale", () => {
  expect(heightOf(10, [1, 100], true)).toBeCloseTo(0.5);
  expect(heightOf(50.5, [1, 100], false)).toBeCloseTo(0.5);
  expect(heightOf(2, [2, 2], true)).toBe(0.5);
});

test("what is not finite leaves a gap in the path", () => {
  const points = [1, 2, Number.NaN, 4].map((y, x): [number, number] => [x, y]);
  expect(pathOf(points)).toBe("M0.00,1.00L1.00,2.00M3.00,4.00");
});

test("the nearest step", () => {
  expect(nearest([1, 5, 9], 6)).toBe(1);
  expect(nearest([1, 5, 9], 100)).toBe(2);
  expect(nearest([], 3)).toBe(-1);
});
