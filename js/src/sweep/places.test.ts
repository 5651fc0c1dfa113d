import { expect, test } from "vitest";
import { flow, named, placeOf, ranked, sizes, table } from "./places";

const AXES = [
  { name: "prompt", values: ["a cat", "a dog", "a car"] },
  { name: "seed", values: ["0", "1"] },
  { name: "guidance scale", values: ["1", "7"] },
];

test("points count along the first axis first, and a tab has all of the first two", () => {
  expect(sizes(AXES)).toEqual([3, 2, 2]);
  expect(placeOf(AXES, 10)).toEqual([1, 1, 1]);
  expect(table(AXES, 1)).toEqual([
    [6, 7, 8],
    [9, 10, 11],
  ]);
  expect(named(AXES, 10)).toBe("a dog, seed 1, guidance scale 7");
});

test("missing axes have one value, and an empty prompt says so", () => {
  const two = AXES.slice(0, 2);
  expect(table(two, 0)).toEqual([
    [0, 1, 2],
    [3, 4, 5],
  ]);
  expect(placeOf(AXES.slice(0, 1), 1)).toEqual([1, 0, 0]);
  expect(named([{ name: "prompt", values: [""] }], 0)).toBe("no prompt");
});

test("a flow breaks after so many cells", () => {
  expect(flow([4, 3, 2, 1, 0], 2)).toEqual([[4, 3], [2, 1], [0]]);
  expect(flow([1, 2], 0)).toEqual([[1], [2]]);
});

test("the highest score is first, and points without one are last in their own order", () => {
  const scores = [0.5, Number.NaN, 2, 0.5, Number.NaN];
  expect(ranked((point) => scores[point] as number, 5)).toEqual([2, 0, 3, 1, 4]);
});
