import { expect, test } from "vitest";
import golden from "../../test/cells_of_masks.json";
import { cells, type Run } from "./cells";
import { boxOf, plane, put } from "./plane";

interface Case {
  image: [number, number];
  boxes: [number, number, number, number, number][];
  run: Run;
  cells: number[][];
}

const cases = golden as unknown as Case[];

function maskOf({ image, boxes }: Case) {
  const mask = plane(...image);
  for (const [x, y, width, height, level] of boxes) {
    const box = boxOf(x, y, x + width, y + height, mask);
    if (box) put(mask, box, new Uint8Array(box.width * box.height).fill(level));
  }
  return mask;
}

test.each(cases)("the page shows the cells of Python, %#", (one) => {
  const made = cells(maskOf(one), one.run);
  expect([made.width, made.height]).toEqual([one.cells[0]?.length ?? 0, one.cells.length]);
  expect([...made.data]).toEqual(one.cells.flat());
});

const mask = plane(100, 50);
const none = [0, 0, 0, 0] as const;

test("the cells lie on the image where the run has its pixels", () => {
  const area = (run: Partial<Run>) =>
    cells(mask, { size: null, fit: "crop", factor: 8, pad: none, ...run }).area;
  expect(area({})).toEqual({ x: 0, y: 0, width: 96, height: 48 });
  expect(area({ size: [64, 64] })).toEqual({ x: 25, y: 0, width: 50, height: 50 });
  expect(area({ size: [64, 64], fit: "stretch" })).toEqual({ x: 0, y: 0, width: 100, height: 50 });
  expect(area({ size: [64, 64], fit: "pad" })).toEqual({ x: 0, y: -25, width: 100, height: 100 });
  expect(area({ pad: [16, 0, 0, 8] })).toEqual({ x: -20, y: 0, width: 120, height: 64 });
});
