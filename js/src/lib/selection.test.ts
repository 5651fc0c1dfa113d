import { expect, test } from "vitest";
import { SELECTION } from "./contract";
import { type Spec, selectionOf, valid } from "./selection";

const whole = { kind: "whole", default: -1, least: -1 } as const;
const real = { kind: "real", default: null, least: -100, most: 100 } as const;
const share = { kind: "real", default: 0.5, least: 0, most: 1 } as const;
const text = { kind: "text", default: "", longest: 3 } as const;
const flag = { kind: "flag", default: false } as const;
const side = { kind: "choice", default: 128, among: [64, 128] } as const;

const taken: [Spec, unknown][] = [
  [whole, 7],
  [real, null],
  [real, -100],
  [share, 0],
  [text, "cat"],
  [text, "🐈🐈🐈"], // letters, as Python counts
  [flag, true],
  [side, 64],
];
test.each(taken)("%o takes %o", (spec, value) => {
  expect(valid(spec, value)).toBe(value);
});

const refused: [Spec, unknown][] = [
  [whole, -2],
  [whole, 1.5],
  [whole, 2 ** 53],
  [whole, "1"],
  [real, 100.5],
  [real, Number.NaN],
  [share, null],
  [text, "cats"],
  [text, undefined],
  [flag, 1],
  [side, 65],
  [side, "64"],
];
test.each(refused)("%o has its default in place of %o", (spec, value) => {
  expect(valid(spec, value)).toBe(spec.default);
});

test("what a notebook does not hold is as it is by default", () => {
  const found = selectionOf((name) => ({ word: "cat", view: "nothing" })[name as string]);
  const defaults = Object.entries(SELECTION).map(([name, spec]) => [name, spec.default]);
  expect(found).toEqual({ ...Object.fromEntries(defaults), word: "cat" });
});
