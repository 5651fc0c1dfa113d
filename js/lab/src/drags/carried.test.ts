import { expect, test } from "vitest";
import { SETTINGS_TYPE } from "../../../src/lib/files";
import { CONTENTS_TYPE, carriedBy, isImage, mayTell, mayTellByType } from "./carried";

/** The data of a Lumino drag. */
const data = (held: Record<string, unknown>) => ({
  hasData: (type: string) => type in held,
  getData: (type: string) => held[type],
});

test("files of the browser are carried by their paths", () => {
  expect(carriedBy(data({ [CONTENTS_TYPE]: ["a/b.png", "RTC:c.sdtrace"] }))).toEqual([
    { kind: "path", path: "a/b.png" },
    { kind: "path", path: "RTC:c.sdtrace" },
  ]);
});

test("an image of the panel is carried by its settings, as an object or as JSON", () => {
  const made = { settings: { seed: 1 } };
  for (const each of [made, JSON.stringify(made)]) {
    expect(carriedBy(data({ [SETTINGS_TYPE]: each }))).toEqual([{ kind: "settings", made }]);
  }
});

test("cells, and what is not understood, are not ours", () => {
  for (const held of [{ "application/vnd.jupyter.cells": [{}] }, { [CONTENTS_TYPE]: "a" }, {}]) {
    expect(carriedBy(data(held))).toEqual([]);
  }
  expect(carriedBy(data({ [CONTENTS_TYPE]: [3] }))).toEqual([]);
  expect(carriedBy(data({ [SETTINGS_TYPE]: "{" }))).toEqual([]);
});

test("names tell what a file may be", () => {
  expect(["a.sdtrace", "a.PNG", "a.jpg", "a.txt", "png"].map(mayTell)).toEqual([
    ...[true, true, false, false, false],
  ]);
  expect(["a.jpeg", "a.webp", "a.sdtrace"].map(isImage)).toEqual([true, true, false]);
});

test("of the desktop's files only the types are known before they are dropped", () => {
  const transfer = (items: [string, string][], types = ["Files"]) =>
    ({ types, items: items.map(([kind, type]) => ({ kind, type })) }) as never;
  expect(mayTellByType(transfer([["file", "image/png"]]))).toBe(true);
  expect(mayTellByType(transfer([["file", ""]]))).toBe(true);
  expect(mayTellByType(transfer([["file", "text/x-python"]]))).toBe(false);
  expect(
    mayTellByType(
      transfer([
        ["file", "image/png"],
        ["file", "text/css"],
      ]),
    ),
  ).toBe(false);
  expect(mayTellByType(transfer([["string", "text/plain"]]))).toBe(false);
  expect(mayTellByType(transfer([], [SETTINGS_TYPE]))).toBe(true);
});
