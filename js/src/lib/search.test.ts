import { expect, test } from "vitest";
import { found } from "./search";

const NAMES = ["cat", "tiger cat", "bobcat", "Egyptian cat", "car", "École", "2"];

test.each([
  ["", [0, 1, 2, 3, 4, 5, 6]],
  ["cat", [0, 1, 3, 2]],
  ["CA", [0, 4, 1, 3, 2]],
  [" egy ", [3]],
  ["école", [5]],
  ["2", [2, 6]], // the number of one and the name of another
  ["dog", []],
])("%j finds %j", (text, wanted) => {
  expect(found(NAMES, text)).toEqual(wanted);
});
