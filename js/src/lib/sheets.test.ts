import { expect, test } from "vitest";
import { sheetOf, spoken } from "./sheets";

const SENT = {
  step: 50,
  data: new Uint8Array([1, 2]),
  type: "image/png",
  size: [32, 16],
  rows: 1,
  columns: 2,
};

test("a sheet says what its images were made for", () => {
  const sheet = sheetOf({ ...SENT, prompts: ["a red car", ""] });
  expect(sheet && spoken(sheet)).toBe("images after step 50: 1 a red car, 2 no prompt");
});

test("a sheet of an earlier version, or without prompts, has none", () => {
  for (const prompts of [undefined, [], "a car", null]) {
    const sheet = sheetOf({ ...SENT, prompts });
    expect(sheet?.prompts).toEqual([]);
    expect(sheet && spoken(sheet)).toBe("images after step 50");
  }
});
