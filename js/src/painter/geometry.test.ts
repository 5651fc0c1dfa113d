import { expect, test } from "vitest";
import { brush, cover } from "./brush";
import { feather } from "./feather";
import { fill } from "./fill";
import { History } from "./history";
import { ERASER, MASK, paintOf } from "./paint";
import { fitting, moved, showing, zoomed } from "./place";
import { boxOf, crop, difference, type Plane, plane, put, union, whole } from "./plane";
import { outline, rectangle } from "./shapes";

/** A mask from rows of characters: "#" is painted, everything else is not. */
function drawn(...rows: string[]): Plane {
  const made = plane((rows[0] as string).length, rows.length);
  rows.forEach((row, y) => {
    [...row].forEach((mark, x) => {
      made.data[y * made.width + x] = mark === "#" ? 255 : 0;
    });
  });
  return made;
}

/** And back. */
function rowsOf({ width, height, data }: Plane) {
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => (data[y * width + x] === 255 ? "#" : ".")).join(""),
  );
}

const tip = (x: number, y: number, radius: number) => ({ x, y, radius });

// --------------------------------------------------------------------------------- the brush

test("a dab covers the pixels whose centres it reaches", () => {
  const mask = plane(5, 5);
  const box = brush(mask, tip(2.5, 2.5, 2), tip(2.5, 2.5, 2), 0, MASK);
  expect(rowsOf(mask)).toEqual(["..#..", ".###.", "#####", ".###.", "..#.."]);
  expect(box).toEqual({ x: 0, y: 0, width: 5, height: 5 });
});

test("the smallest brush paints the pixel that it is in, wherever in it", () => {
  for (const [x, y] of [
    [3.01, 1.01],
    [3.99, 1.99],
    [3.5, 1.5],
  ] as const) {
    const mask = plane(6, 4);
    brush(mask, tip(x, y, 0.5), tip(x, y, 0.5), 0, MASK);
    expect(mask.data[1 * 6 + 3]).toBe(255);
  }
});

test("a line is the union of its places, and has no gaps", () => {
  const [line, dots] = [plane(40, 30), plane(40, 30)];
  const [from, to] = [tip(3, 4, 2.5), tip(35, 22, 2.5)];
  brush(line, from, to, 0, MASK);
  for (let i = 0; i <= 4000; i++) {
    const at = i / 4000;
    const dot = tip(from.x + at * (to.x - from.x), from.y + at * (to.y - from.y), 2.5);
    brush(dots, dot, dot, 0, MASK);
  }
  expect(rowsOf(line)).toEqual(rowsOf(dots));
});

test("in parts or at once, a stroke is the same", () => {
  const [once, parts] = [plane(50, 20), plane(50, 20)];
  brush(once, tip(-5, 3, 4), tip(60, 17, 4), 0.5, MASK);
  const [a, b] = [tip(-5, 3, 4), tip(60, 17, 4)];
  const middle = tip((a.x + b.x) / 2, (a.y + b.y) / 2, 4);
  brush(parts, a, middle, 0.5, MASK);
  brush(parts, middle, b, 0.5, MASK);
  expect(parts.data).toEqual(once.data);
});

test("a brush beyond the edges paints what of it is inside, also the corners", () => {
  const mask = plane(4, 3);
  brush(mask, tip(-1, -1, 2.2), tip(-1, -1, 2.2), 0, MASK);
  brush(mask, tip(5, 4, 2.2), tip(5, 4, 2.2), 0, MASK);
  expect(rowsOf(mask)).toEqual(["#...", "....", "...#"]);
  expect(brush(mask, tip(-9, 1, 2), tip(-8, 1, 2), 0, MASK)).toBeUndefined();
});

test("a soft edge falls off from the middle, and does not add up", () => {
  expect([cover(0, 8, 1), cover(8, 8, 1), cover(9, 8, 1)]).toEqual([1, 0, 0]);
  expect(cover(4, 8, 1)).toBeCloseTo(0.5);
  expect([cover(4, 8, 0.5), cover(7.99, 8, 0)]).toEqual([1, 1]);
  const mask = plane(21, 1);
  brush(mask, tip(10.5, 0.5, 8), tip(10.5, 0.5, 8), 1, MASK);
  const once = mask.data.slice();
  brush(mask, tip(10.5, 0.5, 8), tip(10.5, 0.5, 8), 1, MASK);
  expect(mask.data).toEqual(once);
  expect(once[10]).toBe(255);
  for (let x = 11; x < 18; x++) expect(once[x]).toBeLessThan(once[x - 1] as number);
});

test("erasing takes away as much as painting gives", () => {
  const mask = plane(9, 9);
  mask.data.fill(255);
  brush(mask, tip(4.5, 4.5, 3), tip(4.5, 4.5, 3), 0, ERASER);
  const painted = plane(9, 9);
  brush(painted, tip(4.5, 4.5, 3), tip(4.5, 4.5, 3), 0, MASK);
  expect([...mask.data]).toEqual([...painted.data].map((level) => 255 - level));
});

test("a pen that is pressed harder paints wider", () => {
  const mask = plane(40, 21);
  brush(mask, tip(5, 10.5, 1), tip(35, 10.5, 9), 0, MASK);
  const high = (x: number) => rowsOf(mask).filter((row) => row[x] === "#").length;
  expect(high(8)).toBeLessThan(high(20));
  expect(high(20)).toBeLessThan(high(34));
});

// ------------------------------------------------------------------------------------- shapes

test("a rectangle has both of its corners' pixels, in any order", () => {
  for (const [a, b] of [
    [
      { x: 1.9, y: 1.1 },
      { x: 3.2, y: 2.8 },
    ],
    [
      { x: 3.2, y: 1.1 },
      { x: 1.9, y: 2.8 },
    ],
  ] as const) {
    const mask = plane(5, 4);
    expect(rectangle(mask, a, b, MASK)).toEqual({ x: 1, y: 1, width: 3, height: 2 });
    expect(rowsOf(mask)).toEqual([".....", ".###.", ".###.", "....."]);
    rectangle(mask, a, b, ERASER);
    expect(rowsOf(mask).join("")).not.toContain("#");
  }
});

test("a rectangle from beyond to beyond covers all; outside, nothing", () => {
  const mask = plane(5, 4);
  expect(rectangle(mask, { x: -9, y: -2 }, { x: -3, y: 2 }, MASK)).toBeUndefined();
  rectangle(mask, { x: -9, y: -9 }, { x: 99, y: 99 }, MASK);
  expect(rowsOf(mask).join("")).not.toContain(".");
});

test("an outline has the pixels whose centres it goes around", () => {
  const mask = plane(7, 6);
  const points = [
    { x: 0, y: 0 },
    { x: 7, y: 0 },
    { x: 0, y: 7 },
  ];
  outline(mask, points, MASK);
  expect(rowsOf(mask)).toEqual(["######.", "#####..", "####...", "###....", "##.....", "#......"]);
});

test("what an outline goes around twice is inside, too", () => {
  const square = [
    { x: 1, y: 1 },
    { x: 5, y: 1 },
    { x: 5, y: 4 },
    { x: 1, y: 4 },
  ];
  const [once, twice] = [plane(6, 5), plane(6, 5)];
  outline(once, square, MASK);
  outline(twice, [...square, ...square], MASK);
  expect(rowsOf(twice)).toEqual(rowsOf(once));
  expect(rowsOf(once)[2]).toBe(".####.");
  expect(outline(once, square.slice(0, 2), MASK)).toBeUndefined();
});

test("an outline that leaves the image is cut off at its edges", () => {
  const mask = plane(4, 3);
  const far = [
    { x: -50, y: -50 },
    { x: 50, y: -50 },
    { x: 50, y: 50 },
    { x: -50, y: 50 },
  ];
  outline(mask, far, MASK);
  expect(rowsOf(mask).join("")).not.toContain(".");
});

// --------------------------------------------------------------------------------------- fill

test("an area is filled up to what is painted around it", () => {
  const mask = drawn("######", "#....#", "#.##.#", "#.#.##", "######");
  expect(fill(mask, { x: 1.5, y: 1.5 }, MASK)).toEqual({ x: 1, y: 1, width: 4, height: 3 });
  expect(rowsOf(mask)).toEqual(["######", "######", "######", "###.##", "######"]);
});

test("without a wall everything is filled; on paint, nothing is", () => {
  const mask = plane(60, 40);
  fill(mask, { x: 59.9, y: 39.9 }, MASK);
  expect(mask.data.every((level) => level === 255)).toBe(true);
  expect(fill(mask, { x: 3, y: 3 }, MASK)).toBeUndefined();
  expect(fill(mask, { x: -1, y: 3 }, MASK)).toBeUndefined();
});

test("erasing empties one painted area alone", () => {
  const mask = drawn("##..##", "##..##");
  fill(mask, { x: 0.5, y: 0.5 }, ERASER);
  expect(rowsOf(mask)).toEqual(["....##", "....##"]);
});

test("a spiral is filled to its end", () => {
  const rows = [
    "#########",
    "#.......#",
    "#.#####.#",
    "#.#...#.#",
    "#.#.###.#",
    "#.#.....#",
    "#########",
  ];
  const mask = drawn(...rows);
  fill(mask, { x: 3.5, y: 3.5 }, MASK);
  expect(rowsOf(mask).join("")).not.toContain(".");
});

// ------------------------------------------------------------------------------------- feather

test("feathering is even on both sides, and keeps what is far from edges", () => {
  const mask = plane(41, 9);
  rectangle(mask, { x: 20, y: 0 }, { x: 40, y: 8 }, MASK);
  feather(mask, 6);
  const row = [...mask.data.subarray(4 * 41, 5 * 41)];
  expect([row[0], row[10], row[30], row[40]]).toEqual([0, 0, 255, 255]);
  for (let i = 0; i < 20; i++) {
    expect(row[i + 1]).toBeGreaterThanOrEqual(row[i] as number);
    expect((row[19 - i] as number) + (row[20 + i] as number)).toBeCloseTo(255, -1);
  }
  expect(row[17]).toBeGreaterThan(10);
  expect(row[17]).toBeLessThan(row[20] as number);
});

test("a mask of one level stays as it is", () => {
  const mask = plane(12, 7);
  mask.data.fill(255);
  feather(mask, 9);
  expect(mask.data.every((level) => level === 255)).toBe(true);
});

// --------------------------------------------------------------------------------- boxes, undo

test("boxes: the part inside, what holds both, what differs", () => {
  const size = { width: 10, height: 8 };
  expect(boxOf(-3, 2.5, 4.1, 99, size)).toEqual({ x: 0, y: 2, width: 5, height: 6 });
  expect(boxOf(10, 0, 12, 3, size)).toBeUndefined();
  const [one, other] = [
    { x: 1, y: 1, width: 2, height: 2 },
    { x: 5, y: 0, width: 1, height: 1 },
  ];
  expect(union(one, other)).toEqual({ x: 1, y: 0, width: 5, height: 3 });
  expect(union(undefined, other)).toBe(other);
  const mask = plane(10, 8);
  const before = mask.data.slice();
  expect(difference(mask, before, mask.data)).toBeUndefined();
  put(mask, { x: 9, y: 7, width: 1, height: 1 }, new Uint8Array([3]));
  put(mask, { x: 2, y: 4, width: 1, height: 1 }, new Uint8Array([3]));
  expect(difference(mask, before, mask.data)).toEqual({ x: 2, y: 4, width: 8, height: 4 });
  expect([...crop(mask, { x: 8, y: 7, width: 2, height: 1 })]).toEqual([0, 3]);
  expect(whole(mask)).toEqual({ x: 0, y: 0, width: 10, height: 8 });
});

test("changes are undone in their boxes, and done again", () => {
  const mask = plane(6, 1);
  const history = new History();
  const change = (x: number) => {
    const before = mask.data.slice();
    const box = { x, y: 0, width: 2, height: 1 };
    put(mask, box, new Uint8Array([255, 255]));
    history.add(mask, box, before);
  };
  change(0);
  change(3);
  expect(rowsOf(mask)).toEqual(["##.##."]);
  expect(history.undo(mask)).toEqual({ x: 3, y: 0, width: 2, height: 1 });
  expect(rowsOf(mask)).toEqual(["##...."]);
  expect([history.undos, history.redos]).toEqual([1, 1]);
  history.redo(mask);
  expect(rowsOf(mask)).toEqual(["##.##."]);
  history.undo(mask);
  change(4);
  expect(history.redo(mask)).toBeUndefined();
  history.undo(mask);
  history.undo(mask);
  expect(rowsOf(mask)).toEqual(["......"]);
  expect(history.undo(mask)).toBeUndefined();
});

test("the oldest changes are forgotten", () => {
  const mask = plane(1, 1);
  const history = new History();
  for (let i = 0; i < 300; i++) history.add(mask, whole(mask), mask.data);
  expect(history.undos).toBe(100);
});

// -------------------------------------------------------------------------------------- places

const box = { x: 0, y: 0, width: 400, height: 300 };
const frame = { width: 816, height: 500 };

test("an image fits its frame, in the middle", () => {
  const { scale, x, y } = fitting(box, frame);
  expect(300 * scale).toBeCloseTo(444);
  expect(x).toBeCloseTo((816 - 400 * scale) / 2);
  expect(y).toBeCloseTo(28);
  const padded = fitting({ x: -100, y: 0, width: 500, height: 300 }, frame);
  expect(padded.x - 100 * padded.scale).toBeCloseTo((816 - 500 * padded.scale) / 2);
});

test("what is under the pointer stays there as the image grows", () => {
  const place = fitting(box, frame);
  const at = { x: 300, y: 200 };
  const under = ({ scale, x, y }: typeof place) => [(at.x - x) / scale, (at.y - y) / scale];
  const next = zoomed(place, 3, at, box, frame);
  expect(next.scale).toBeCloseTo(3 * place.scale);
  expect(under(next)[0]).toBeCloseTo(under(place)[0] as number);
  expect(under(next)[1]).toBeCloseTo(under(place)[1] as number);
  expect(zoomed(place, 1e9, at, box, frame).scale).toBe(32);
});

test("an image cannot be moved out of its frame", () => {
  const place = fitting(box, frame);
  const far = moved(place, 1e6, -1e6, box, frame);
  expect(far.x).toBeLessThanOrEqual(frame.width / 2);
  expect(far.y + 300 * far.scale).toBeGreaterThanOrEqual(frame.height / 2 - 1e-6);
});

test("the cursor is brought into view, and nothing moves where it is", () => {
  const place = { scale: 10, x: 0, y: 0 };
  expect(showing(place, { x: 20, y: 20 }, frame)).toEqual(place);
  const next = showing(place, { x: 399, y: 0 }, frame);
  expect(next.x + 3990).toBe(frame.width - 24);
  expect(next.y).toBe(24);
});

// ------------------------------------------------------------------------------------ classes

test("a class is what brush, shapes and fill leave, wherever they reach", () => {
  const map = plane(6, 3);
  rectangle(map, { x: 0, y: 0 }, { x: 1.5, y: 2.5 }, paintOf(7));
  brush(map, tip(4.5, 1.5, 1.2), tip(4.5, 1.5, 1.2), 0, paintOf(2));
  expect([...map.data]).toEqual([7, 7, 0, 0, 2, 0, 7, 7, 0, 2, 2, 2, 7, 7, 0, 0, 2, 0]);
  brush(map, tip(0.5, 0.5, 0.5), tip(0.5, 0.5, 0.5), 0, paintOf(0));
  expect(map.data[0]).toBe(0);
});

test("a fill goes over what touches and is of one class", () => {
  const map = plane(4, 2);
  map.data.set([1, 1, 2, 1, 3, 1, 2, 1]);
  expect(fill(map, { x: 0, y: 0 }, paintOf(9))).toEqual({ x: 0, y: 0, width: 2, height: 2 });
  expect([...map.data]).toEqual([9, 9, 2, 1, 3, 9, 2, 1]);
  expect(fill(map, { x: 0, y: 0 }, paintOf(9))).toBeUndefined();
});
