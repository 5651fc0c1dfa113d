import { expect, test } from "vitest";
import { bytes, isBinary } from "./bytes";

const six = new Uint8Array([1, 2, 3, 4, 5, 6]);

test("a DataView into the middle of a buffer keeps to its part", () => {
  const buffer = new Uint8Array([9, 1, 2, 9]).buffer;
  expect([...bytes(new DataView(buffer, 1, 2))]).toEqual([1, 2]);
});

test("arrays, as Colab sends them, and bare buffers are bytes too", () => {
  expect([...bytes(six)]).toEqual([...six]);
  expect([...bytes(six.buffer)]).toEqual([...six]);
});

test("lists of numbers, as of JSON, are bytes too", () => {
  expect([...bytes([...six])]).toEqual([...six]);
  expect([six, six.buffer, [...six], [], ["a"], "a"].map(isBinary)).toEqual([
    ...[true, true, true],
    ...[false, false, false],
  ]);
});

test("anything else is no bytes", () => {
  for (const value of [null, undefined, "text", 5, {}, [], ["text"]])
    expect(bytes(value)).toHaveLength(0);
});
