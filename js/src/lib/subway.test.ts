import { expect, test } from "vitest";
import { layout, nearest, ROW, thatFit } from "./subway";

const RUNS = [
  { id: 0, parent: null, step: 0, steps: 20 },
  { id: 4, parent: 0, step: 8, steps: 20 },
  { id: 7, parent: 4, step: 16, steps: 20 },
  { id: 5, parent: 0, step: 0, steps: 40 },
];

test("a row begins under the step at which it leaves its parent", () => {
  const { rows, x, height } = layout(RUNS, 412);
  expect(rows.map(({ id }) => id)).toEqual([0, 4, 7, 5]);
  expect(rows.map(({ from }) => from)).toEqual([x(0), x(8), x(16), x(0)]);
  expect(rows.map(({ to }) => to)).toEqual([x(20), x(20), x(20), x(40)]);
  expect(x(40)).toBe(412);
  expect(height).toBe(4 * ROW);
  const [root, branch] = rows;
  expect(branch?.line.startsWith(`M${branch.from} ${root?.y}V`)).toBe(true);
});

test("levels and siblings are those of the tree", () => {
  const { rows } = layout(RUNS, 400);
  expect(rows.map(({ level }) => level)).toEqual([1, 2, 3, 2]);
  expect(rows.map(({ position, siblings }) => [position, siblings])).toEqual([
    [1, 1],
    [1, 2],
    [1, 1],
    [2, 2],
  ]);
});

test("rows do not overlap, and all is within the width", () => {
  for (const width of [120, 400, 1200]) {
    const { rows } = layout(RUNS, width);
    rows.forEach(({ y, from, to }, i) => {
      expect(y).toBe((i + 0.5) * ROW);
      expect(from).toBeGreaterThanOrEqual(0);
      expect(to).toBeLessThanOrEqual(width);
      expect(to).toBeGreaterThan(from);
    });
  }
});

test("the numbers of steps are round and apart", () => {
  for (const width of [120, 400, 1200]) {
    const { ticks } = layout(RUNS, width);
    expect(ticks[0]?.step).toBe(0);
    ticks.slice(1).forEach(({ x }, i) => {
      expect(x - (ticks[i]?.x ?? 0)).toBeGreaterThanOrEqual(46);
    });
  }
});

test("as many thumbnails as there is room for, the last included", () => {
  const steps = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
  expect(thatFit(steps, 40, 40)).toEqual(steps);
  expect(thatFit(steps, 20, 40)).toEqual([1, 3, 5, 7, 9]);
  expect(thatFit(steps, 1, 40)).toEqual([9]);
  expect(thatFit([], 1, 40)).toEqual([]);
});

test("the nearest step", () => {
  expect(nearest([0, 5, 10], 7)).toBe(5);
  expect(nearest([0, 5, 10], 8)).toBe(10);
  expect(nearest([], 8)).toBe(0);
});
