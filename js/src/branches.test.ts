import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel } from "../test/model";
import branches from "./branches";

const node = {
  id: 0,
  parent: null,
  how: "start",
  step: 0,
  steps: 8,
  name: "",
  changes: "",
  cost: 8,
  difference: null,
  prompt: "a cat",
  seed: 7,
  words: ["a", "cat"],
  settings: {},
  kept: [0, 1, 2, 3, 4, 5, 6, 7],
  edits: "",
  row: "row0",
  draft: false,
};

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  URL.createObjectURL = () => "blob:0";
  URL.revokeObjectURL = () => {};
  model = new FakeModel({
    uid: "b",
    nodes: [node],
    row0: {},
    forming: {},
    undoable: 0,
    state: "idle",
    message: "",
    wrong: "",
    selected: 0,
    at: -1,
    view: "picture",
  });
  el = document.createElement("div");
  document.body.append(el);
  undo = branches.render({ model: model as never, el } as never) as () => void;
});

afterEach(() => {
  undo();
  el.remove();
  vi.useRealTimers();
});

test("a key counts, even if the kernel answers the one before it just then", () => {
  const press = (key: string) =>
    el
      .querySelector("[role=treeitem]")
      ?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  press("Home");
  expect(model.saved.map(({ at }) => at)).toEqual([0]);
  press("ArrowRight");
  model.change({ at: 0 }); // the kernel's echo of Home
  press("ArrowRight");
  vi.runAllTimers();
  expect(model.saved.map(({ at }) => at)).toEqual([0, 2]);
});
