import { expect, test } from "vitest";
import {
  at,
  between,
  type Corners,
  clicked,
  isWhole,
  moved,
  type NamedBox,
  resized,
  withNumber,
} from "./geometry";

const CAT: NamedBox = ["cat", [0.1, 0.2, 0.5, 0.6]];
const SKY: NamedBox = ["blue", [0, 0, 1, 1]];
const DOG: NamedBox = ["dog", [0.3, 0.3, 0.9, 0.9]];

test("a box lies between two places, in any order, and inside the image", () => {
  expect(between({ x: 0.7, y: 0.2 }, { x: 0.25, y: 0.9 })).toEqual([0.25, 0.2, 0.7, 0.9]);
  expect(between({ x: -0.3, y: 0.5 }, { x: 1.2, y: 2 })).toEqual([0, 0.5, 1, 1]);
});

test("no box is smaller than the smallest, also at the edges", () => {
  expect(between({ x: 0.5, y: 0.5 }, { x: 0.5, y: 0.5 })).toEqual([0.5, 0.5, 0.51, 0.51]);
  expect(between({ x: 1.4, y: 1 }, { x: 1.2, y: 1.1 })).toEqual([0.99, 0.99, 1, 1]);
});

test("corners are short numbers", () => {
  expect(between({ x: 1 / 3, y: 0 }, { x: 2 / 3, y: 1 })).toEqual([0.333, 0, 0.667, 1]);
  expect(moved([0.1, 0.2, 0.3, 0.4], 0.1, 0.2)).toEqual([0.2, 0.4, 0.4, 0.6]);
});

test("a box that is moved stays whole and inside", () => {
  expect(moved(CAT[1], -0.5, 0.9)).toEqual([0, 0.6, 0.4, 1]);
  expect(moved([0, 0, 1, 1], 0.5, 0.5)).toEqual([0, 0, 1, 1]);
});

test("a handle moves its own sides, and none passes the one across", () => {
  expect(resized(CAT[1], [-1, -1], 0.1, 0.1)).toEqual([0.2, 0.3, 0.5, 0.6]);
  expect(resized(CAT[1], [1, 0], 0.9, 0.9)).toEqual([0.1, 0.2, 1, 0.6]);
  expect(resized(CAT[1], [0, 1], 0.1, -0.9)).toEqual([0.1, 0.2, 0.5, 0.21]);
  expect(resized(CAT[1], [-1, 0], 0.9, 0)).toEqual([0.49, 0.2, 0.5, 0.6]);
});

test("a number is set where it leaves a box", () => {
  expect(withNumber(CAT[1], 2, 0.8)).toEqual([0.1, 0.2, 0.8, 0.6]);
  expect(withNumber(CAT[1], 0, -3)).toEqual([0, 0.2, 0.5, 0.6]);
  expect(withNumber(CAT[1], 0, 0.5)).toBeUndefined();
  expect(withNumber(CAT[1], 1, Number.NaN)).toBeUndefined();
});

test("at a place, the smallest box comes first; of equal ones, the one in front", () => {
  const boxes = [SKY, CAT, DOG];
  expect(at(boxes, { x: 0.4, y: 0.4 })).toEqual([1, 2, 0]);
  expect(at(boxes, { x: 0.05, y: 0.05 })).toEqual([0]);
  expect(at([CAT, CAT], { x: 0.4, y: 0.4 })).toEqual([1, 0]);
  expect(at([CAT], { x: 0.9, y: 0.4 })).toEqual([]);
});

test("clicks go through all boxes at a place, and around", () => {
  const boxes = [SKY, CAT, DOG];
  const place = { x: 0.4, y: 0.4 };
  const chosen = [-1];
  for (let i = 0; i < 4; i++) chosen.push(clicked(boxes, place, chosen.at(-1) as number));
  expect(chosen).toEqual([-1, 1, 2, 0, 1]);
  expect(clicked([CAT], { x: 0.9, y: 0.9 }, 0)).toBe(-1);
});

test("a box that covers the image is known", () => {
  const all: Corners = [0, 0, 1, 1];
  expect([isWhole(all), isWhole([0, 0, 1, 0.999])]).toEqual([true, false]);
});
