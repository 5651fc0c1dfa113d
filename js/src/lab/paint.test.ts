import { expect, test } from "vitest";
import { dab, Stroke, way } from "./paint";

const brush = { channel: -1, value: 2, mode: "set" as const };
const grid = () => ({ values: new Float32Array([1, 1, 1, 1]), channels: 2, width: 2, height: 1 });

test("the way between two cells has no gaps", () => {
  expect(way({ x: 0, y: 0 }, { x: 3, y: 1 })).toEqual([
    { x: 0, y: 0 },
    { x: 1, y: 0 },
    { x: 2, y: 1 },
    { x: 3, y: 1 },
  ]);
  expect(way({ x: 2, y: 2 }, { x: 2, y: 2 })).toEqual([{ x: 2, y: 2 }]);
});

test("a stroke has each cell once, in order, with what the brush skipped", () => {
  const stroke = new Stroke(brush);
  expect(stroke.to({ x: 1, y: 1 })).toEqual([{ x: 1, y: 1 }]);
  expect(stroke.to({ x: 3, y: 1 })).toHaveLength(2);
  expect(stroke.to({ x: 1, y: 1 })).toEqual([]);
  expect(stroke.edit).toEqual({
    ...{ type: "paint", channel: -1, value: 2, mode: "set" },
    cells: [
      [1, 1],
      [2, 1],
      [3, 1],
    ],
  });
});

test("a stroke that leaves the canvas comes back elsewhere, with no line between", () => {
  const stroke = new Stroke(brush);
  stroke.to({ x: 0, y: 0 });
  stroke.leave();
  stroke.to({ x: 0, y: 9 });
  expect(stroke.edit.cells).toHaveLength(2);
});

test("a dab sets a cell in all channels, or in one", () => {
  const [all, second] = [grid(), grid()];
  dab(all, brush, { x: 1, y: 0 });
  dab(second, { ...brush, channel: 1 }, { x: 0, y: 0 });
  expect([...all.values]).toEqual([1, 2, 1, 2]);
  expect([...second.values]).toEqual([1, 1, 2, 1]);
});

test("a dab that adds goes on from what is there", () => {
  const one = grid();
  dab(one, { ...brush, mode: "add" }, { x: 0, y: 0 });
  expect([...one.values]).toEqual([3, 1, 3, 1]);
});
