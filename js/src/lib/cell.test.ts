import { expect, test } from "vitest";
import { making } from "./cell";

const run = {
  model: "emoji",
  task: "text to image",
  settings: { prompt: "a cat", seed: 3, fit: "pad" },
  settings_format: 2,
  given: ["control"],
  sources: [{ name: "canny.safetensors", kind: "controlnet", strength: 0.5 }],
  controls: [{ name: "canny.safetensors", strength: 0.5, start: 0, end: 0.8 }],
};

/** The lines of the cell that are about controls. */
const lines = (made: object, found = {}) =>
  making(made, found)
    .split("\n")
    .filter((line) => /control|record/i.test(line));

test("a control's image is in a recorded run, and its network is named", () => {
  expect(lines(run, { record: "cat.sdtrace" })).toEqual([
    'record = sdw.Trace.load("cat.sdtrace")',
    "# Give the path of the ControlNet.",
    'control = sdw.Control("canny.safetensors", record.given_controls[0].image, strength=0.5, end=0.8)',
    "    control=control,",
  ]);
});

test("beside an image of the run, a control's image must be given", () => {
  expect(lines(run, { name: "cat.png" })).toEqual([
    'control_image = ...  # give what the run had: it is not in "cat.png"',
    "# Give the path of the ControlNet.",
    'control = sdw.Control("canny.safetensors", control_image, strength=0.5, end=0.8)',
    "    control=control,",
  ]);
});

test("several controls are a list, and what is no control is left out", () => {
  const two = { ...run.controls[0], name: "it's\n2", strength: "1", end: 1 };
  expect(lines({ ...run, controls: [...run.controls, two, 5, { name: 3 }] })).toEqual([
    "control_image_1 = ...  # give what the run had: it is not in its settings",
    "control_image_2 = ...  # give what the run had: it is not in its settings",
    "# Give the paths of the ControlNets.",
    "control = [",
    '    sdw.Control("canny.safetensors", control_image_1, strength=0.5, end=0.8),',
    '    sdw.Control("it\'s\\n2", control_image_2),',
    "    control=control,",
  ]);
});

test("a bundled system is loaded by its name, and all of its settings are written", () => {
  const settings = { prompt: "", seed: 3, steps: 20, guidance_scale: 3, width: 128 };
  const made = { ...run, settings_format: 4, given: [], controls: [], sources: [], settings };
  const cell = making({ ...made, model: "emoji, by class" });
  expect(cell).toContain('\nmodel = sdw.load("emoji-class")\n');
  expect(cell).toContain("model.generate(seed=3, steps=20, guidance_scale=3, width=128)");
  expect(making({ ...made, model: "emoji-class" })).toBe(cell);
  const lora = [{ name: "a.safetensors", kind: "lora", strength: 1 }];
  expect(making({ ...made, model: "emoji-class", sources: lora })).toContain(
    'sdw.load("emoji-class", loras=["a.safetensors"])',
  );
  const usual = making({ ...made, model: "emoji scenes" });
  expect(usual).toContain("\nmodel = sdw.load()\ntrace = model.generate(seed=3)\n");
  for (const model of ["constructor", "emoji, by", ["emoji scenes"]]) {
    const isText = typeof model === "string";
    if (isText) expect(making({ ...made, model })).toContain("# Give the path of the file");
    else expect(() => making({ ...made, model })).toThrow("does not name its model");
  }
});

test("labels and boxes are written as Python takes them, and a guide is asked for", () => {
  const settings = {
    seed: 3,
    label: ["cat", null, 7],
    boxes: [[["a dog", [0, 0.25, 0.5, 1]]], [], [["it's", [0, 0, 1, 1]]]],
    guide_scale: 2.5,
  };
  const cell = making({
    ...run,
    given: [],
    controls: [],
    sources: [],
    settings,
    guide: { name: "f" },
  });
  expect(cell).toContain('label=["cat", None, 7]');
  expect(cell).toContain('boxes=[[("a dog", (0, 0.25, 0.5, 1))], [], [("it\'s", (0, 0, 1, 1))]]');
  expect(cell).toContain('guide = ...  # give what steered the run: "f"');
  expect(cell).toMatch(/guide_scale=2.5,\s+guide=guide/);
  const ready = { ...run, given: [], controls: [], settings, guide: { name: "colour" } };
  expect(making(ready, { record: "a.sdtrace" })).toContain("guide=record.guide");
  const one = making({
    ...run,
    given: [],
    controls: [],
    settings: { seed: 3, boxes: [["a", [0, 0, 1, 1]]] },
  });
  expect(one).toContain('boxes=[("a", (0, 0, 1, 1))]');
  expect(() => making({ ...run, settings: { seed: 3, boxes: [["a", [0, 0, 1]]] } })).toThrow(
    "boxes",
  );
});
