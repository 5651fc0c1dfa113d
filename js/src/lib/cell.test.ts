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
