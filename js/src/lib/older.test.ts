import { expect, test } from "vitest";
import { converted } from "./older";

const NAMED = { steps: 20, sampler: "dpmpp_2m" };
const AS_TEXT = { weights: "none", chunks: 1, ...NAMED };

const cases = [
  ["seeds that end in 32 bits stay", { seed: 2 ** 32 - 3, batch_size: 3 }, {}],
  ["a seed loses its higher bits", { seed: 2 ** 32 + 5, batch_size: 2 }, { seed: 5 }],
  [
    "seeds that went around are listed",
    { seed: 2 ** 32 - 1, batch_size: 3 },
    { seed: [2 ** 32 - 1, 0, 1] },
  ],
  ["each of a list is converted", { seed: [2 ** 32, 7] }, { seed: [0, 7] }],
  ["a batch that no run had", { seed: 2 ** 33, batch_size: 65 }, {}],
  ["strength is whole steps, rounded down", { steps: 20, strength: 0.34 }, { strength: 0.3 }],
  ["strength below one step stays", { steps: 20, strength: 0.01 }, {}],
  ["strength without a number stays", { steps: 20, strength: "much" }, {}],
] as const;

test.each(cases)("%s", (_, settings, changed) => {
  const usual = { schedule: "karras", strength: 0.8, ...NAMED };
  const given = { ...usual, ...settings };
  const wanted = { ...usual, ...settings, ...changed, weights: "none", chunks: 1 };
  expect(converted(given, { task: "image to image" })).toEqual(wanted);
  // as a record is read, with whole numbers apart
  const apart = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(apart);
    return Number.isInteger(value) ? BigInt(value as number) : value;
  };
  const all = (values: object) =>
    Object.fromEntries(Object.entries(values).map(([name, value]) => [name, apart(value)]));
  expect(converted(all(given), { task: "image to image" }, 1n)).toEqual(all(wanted));
});

test("a large seed keeps its bits", () => {
  const seed = 2n ** 64n - 3n;
  expect(converted({ seed }, { task: "text to image" })).toEqual({
    seed: 2n ** 32n - 3n,
    schedule: "config",
    ...AS_TEXT,
  });
});

test("the schedule of the model's config had another name", () => {
  const wanted = { schedule: "config", ...AS_TEXT };
  expect(converted({}, { task: "text to image" })).toEqual(wanted);
  expect(converted({ schedule: "default" }, {})).toEqual(wanted);
});

test("brackets were text, and prompts were cut, up to format 2", () => {
  const settings = { prompt: "a (cat)", schedule: "default", seed: 2 ** 40 };
  expect(converted(settings, { settings_format: 2 })).toEqual({ ...settings, ...AS_TEXT });
  expect(converted(settings, { settings_format: 2n })).toEqual({ ...settings, ...AS_TEXT });
  for (const settings_format of [4, "2", null, [1]]) {
    expect(converted(settings, { settings_format })).toEqual(settings);
  }
});

test("an option at the value that changes nothing was written for every sampler, up to format 3", () => {
  const settings = { sampler: "euler_ancestral", steps: 5 };
  const told = { settings_format: 3 };
  expect(converted({ ...settings, eta: 0 }, told)).toEqual({ ...settings, eta: null });
  expect(converted({ ...settings, eta: 0.5 }, told)).toEqual({ ...settings, eta: 0.5 });
  expect(converted({}, told)).toEqual(NAMED);
});
