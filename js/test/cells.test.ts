// The cells that make runs again: cells.json has what records of Python's say, and the cells that
// Python is tested to make the same images from. tests/cells.py writes it.

import { expect, test } from "vitest";
import { literal, making, type NoCell, relative, viewing } from "../src/lib/cell";
import cells from "./cells.json";

const plain = cells.runs[0] as (typeof cells.runs)[number];
const made = (more: object) => ({ ...plain.made, ...more });
const set = (more: object) => made({ settings: { ...plain.made.settings, ...more } });

test.each(cells.runs.map((run) => [run.name, run] as const))("%s", (_, run) => {
  expect(making(run.made, run.found)).toBe(run.cell);
});

test("texts are written as Python is tested to read them", () => {
  for (const { codes, literal: wanted } of cells.texts) {
    expect(literal(String.fromCodePoint(...codes))).toBe(wanted);
  }
});

test("no character ends a literal, and each is written in one way that Python knows", () => {
  const whole = /^(?:"(?:[^"\\]|\\[\\"nrt]|\\x..|\\u.{4}|\\U.{8})"|'"')$/u;
  for (let code = 0; code <= 0x10ffff; code += code < 0x10000 ? 1 : 97) {
    const text = literal(String.fromCodePoint(code));
    const inside = text.slice(1, -1);
    const isShown = /^[^\p{C}\p{Zl}\p{Zp}]+$/u.test(text); // no control, no half of a pair
    if (!isShown || !whole.test(text)) expect.fail(`U+${code.toString(16)} is written ${text}`);
    if (inside.length > 2 && /^\\[xuU]/.test(inside)) {
      expect(Number.parseInt(inside.slice(2), 16)).toBe(code);
    }
  }
});

test.each([0, 1, 2 ** 32 - 1])("seed %d is written exactly", (seed) => {
  expect(making(set({ seed }))).toContain(`seed=${seed},`);
});

test("numbers are those that the record has, to the last bit", () => {
  for (const value of [0.1, 1 / 3, 5e-324, 1e-7, 99.99999999999999]) {
    const cell = making(set({ guidance_scale: value }));
    expect(Number(/guidance_scale=([^,)]+)/.exec(cell)?.[1])).toBe(value);
  }
});

test("a record that was read with maps and big integers is the same record", () => {
  const asMap = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(asMap);
    if (Number.isInteger(value)) return BigInt(value as number);
    if (typeof value !== "object" || value === null) return value;
    return new Map(Object.entries(value).map(([name, each]) => [name, asMap(each)]));
  };
  for (const run of cells.runs) expect(making(asMap(run.made), run.found)).toBe(run.cell);
});

test("what neither a record nor the settings hold is asked for", () => {
  const cell = making(made({ task: "inpainting", given: ["latents"] }));
  expect(cell).toContain("image = ...  # give what the run had: it is not in its settings\nmask =");
  expect(cell).toMatch(/image=image,\s+mask=mask,\s+latents=latents,/);
});

test("of a stopped run, all is made", () => {
  expect(making(made({ complete: false }))).toMatch(/^# It was stopped.*\nimport/);
});

test("a model of the hub is loaded as it was then, and its weights are compared", () => {
  const commit = "0123456789abcdef0123456789abcdef01234567";
  const fingerprint = "ab".repeat(32);
  const sources = [
    { name: "ana/cats", kind: "checkpoint", commit },
    { name: "fine\n.safetensors", kind: "lora", strength: 0.5 },
  ];
  const cell = making(made({ model: "cats", fingerprint, sources }));
  const loras = 'loras=[("fine\\n.safetensors", 0.5)],';
  expect(cell).toContain("# Give the paths of the files of its LoRAs.\n");
  expect(cell).toContain(`    "ana/cats",\n    revision="${commit}",\n    ${loras}\n`);
  expect(cell).toContain(`if model.fingerprint != "${fingerprint}":\n`);
  // what the bundled model fills in by itself is not what this one does
  expect(cell).toMatch(/schedule="trailing".*guidance_scale=3.*width=128, *.*height=128/s);
});

test("LoRAs have their strengths; what else a model had is said", () => {
  const sources = [
    { name: "vae.safetensors", kind: "autoencoder" },
    { name: "a.safetensors", kind: "lora", strength: 1 },
    { name: "mine/b.safetensors", kind: "lora", strength: 1, text_strength: 0 },
    { name: 3, kind: "lora" },
    { name: "c", kind: "lora", strength: "much" },
  ];
  const cell = making(made({ sources }));
  expect(cell).toContain(
    'model = sdw.load(loras=["a.safetensors", ("mine/b.safetensors", 1, 0), "c"])\n',
  );
  expect(cell).toContain(`# The run's model also had "vae.safetensors" ("autoencoder").\n`);
});

test("a model from a file is named, and a comment asks for its path", () => {
  const cell = making(made({ model: "cats\nimport os" }));
  expect(cell).toContain(
    `# Give the path of the file or folder of the model "cats\\nimport os".\n`,
  );
  expect(cell).toContain(`model = sdw.load("cats\\nimport os")\n`);
});

test("settings of version 0.1 are those that make the same image today", () => {
  const { settings_format: _, ...old } = plain.made;
  const settings = { prompt: "a cat", seed: 2 ** 33 + 5, steps: 7, strength: 0.5, width: 128 };
  expect(making({ ...old, settings })).toContain(
    '    "a cat",\n    weights="none",\n    chunks=1,\n    seed=5,\n    steps=7,\n    schedule="config",\n',
  );
  const from = making({ ...old, task: "image to image", settings });
  expect(from).toContain(`strength=${3 / 7},`);
  const batch = { prompt: "a cat", seed: 2 ** 32 - 1, batch_size: 2 };
  expect(making({ ...old, settings: batch })).toContain("seed=[4294967295, 0]");
  const fine = { prompt: "a cat", seed: 2 ** 33 + 1, batch_size: 2 };
  expect(making({ ...old, settings: fine })).toContain("seed=1,");
});

test.each<[string, unknown]>([
  ["It has no settings.", null],
  ["It has no settings.", []],
  ["It has no settings.", { model: "emoji" }],
  ["Its steps were made by a program that it does not name.", made({ task: "" })],
  ["It does not name its model.", made({ model: 7 })],
  ["It has no seed.", set({ seed: null })],
  ["Its prompt cannot be used.", set({ prompt: { a: 1 } })],
  ["Its prompt cannot be used.", set({ prompt: [] })],
  ["Its prompt cannot be used.", set({ prompt: ["a", 1] })],
  ["Its seed cannot be used.", set({ seed: 2 ** 32 })],
  ["Its seed cannot be used.", set({ seed: "7); import os" })],
  ["Its steps cannot be used.", set({ steps: 2.5 })],
  ["Its guidance scale cannot be used.", set({ guidance_scale: Number.NaN })],
  ["Its crop cannot be used.", set({ crop: [1] })],
])("%s", (message, run) => {
  expect(() => making(run)).toThrow(expect.objectContaining({ name: "NoCell", message }) as NoCell);
});

test("a branch is the parent's run, and what it changed from a step on; a chain has each of them", () => {
  const { settings } = plain.made;
  const first = { how: "branch", step: 2, record: plain.made };
  const second = {
    how: "branch",
    record: { ...set({ prompt: "a dog", guidance_scale: 2 }), parent: first },
    seed: [7],
  };
  const changed = { prompt: "a dog", guidance_scale: 2, sigmas: [5, 1, 0], steps: 2, seed: 1 };
  const cell = making({ ...set(changed), parent: second });
  expect(cell).toContain(`trace = model.generate("a cat", seed=${settings.seed}, steps=3)\n`);
  expect(cell).toContain('trace = trace.branch(step=2, prompt="a dog", guidance_scale=2)\n');
  expect(cell).toMatch(
    /trace = trace\.branch\(step=0, seed=\[7\], sigmas=\[5, 1, 0\]\)\ntrace\.image$/,
  );
});

test("a second pass is made by its own run, and a refiner is loaded", () => {
  const parent = { how: "hires", record: plain.made };
  const sources = [{ name: "xl/refiner", kind: "refiner" }];
  const cell = making({ ...set({ hires: 2, refiner_start: 0.8 }), parent, sources });
  expect(cell).toContain('# Give the path of the refiner.\nrefiner = sdw.load("xl/refiner")\n');
  expect(cell).toMatch(/hires=2,\s+refiner_start=0.8,\s+refiner=refiner,\n\)\ntrace.image$/);
});

const deep = (count: number): object =>
  count === 0 ? plain.made : { ...plain.made, parent: { how: "edit", record: deep(count - 1) } };
const from = (parent: unknown) => made({ parent });

test.each<[string, unknown]>([
  ["It came from another run in a way that is not known.", from({ how: "merge", record: {} })],
  ["It has no settings.", from({ how: "branch" })],
  ["It has no settings.", from({ how: "edit", record: [1] })],
  ["Its step cannot be used.", from({ how: "branch", record: plain.made, step: "1); x(" })],
  ["Its seed cannot be used.", from({ how: "branch", record: plain.made, seed: "7" })],
  ["Its word cannot be used.", from({ how: "edit", record: plain.made, edit: { word: [1] } })],
  ["Its weights cannot be used.", from({ how: "edit", record: plain.made, edit: { weights: 5 } })],
  ["Its blend cannot be used.", from({ how: "edit", record: plain.made, edit: { blend: [3] } })],
  ["It came from too many runs.", deep(17)],
])("%s", (message, run) => {
  expect(() => making(run)).toThrow(expect.objectContaining({ name: "NoCell", message }) as NoCell);
});

test("words of an edit stay literals", () => {
  const edit = { word: 'a"\n', weights: { "'x'); import os": -1 }, blend: false };
  const cell = making(from({ how: "edit", record: plain.made, edit }));
  expect(cell).toContain(`trace = trace.edit(word='a"\\n', weights={"'x'); import os": -1})\n`);
  expect(making(deep(16)).match(/trace\.edit\(\)/g)?.length).toBe(16);
});

test("sizes that a model was told are pairs", () => {
  expect(making(set({ crop: [0, 8] }))).toContain("crop=(0, 8)");
});

test("a record is shown by a cell of its own", () => {
  expect(viewing('a"b.sdtrace')).toBe(
    "import sdwidgets as sdw\n\ntrace = sdw.Trace.load('a\"b.sdtrace')\nsdw.Viewer(trace)",
  );
});

test.each([
  ["a.ipynb", "b.sdtrace", "b.sdtrace"],
  ["runs/a.ipynb", "runs/b.sdtrace", "b.sdtrace"],
  ["runs/a.ipynb", "b.sdtrace", "../b.sdtrace"],
  ["x/y/a.ipynb", "x/z/b.sdtrace", "../z/b.sdtrace"],
  ["a.ipynb", "a/b.sdtrace", "a/b.sdtrace"],
  ["RTC:x/a.ipynb", "x/b: c.sdtrace", "b: c.sdtrace"],
  ["cloud:x/a.ipynb", "cloud:b.sdtrace", "../b.sdtrace"],
  ["a.ipynb", "cloud:b.sdtrace", undefined],
])("from %s, %s is %s", (notebook, file, wanted) => {
  expect(relative(notebook, file)).toBe(wanted);
});
