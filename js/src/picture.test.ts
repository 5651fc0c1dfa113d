import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel } from "../test/model";
import { madeRun, nothingSelected } from "../test/runs";
import picture from "./picture";

let model: FakeModel;
let el: HTMLElement;
let undo: (() => void)[];
let uid = 0;

const text = (selector: string) => el.querySelector(selector)?.textContent;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("requestAnimationFrame", (show: () => void) => void show());
  const state = { uid: `picture ${++uid}`, header: {}, pictures: [], state: "idle", message: "" };
  model = new FakeModel({
    ...nothingSelected,
    view: "picture",
    shape: [1, 1],
    current: -1,
    ...state,
  });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = [
    picture.render({ model, el } as never) as () => void,
    picture.initialize({ model } as never) as () => void,
  ];
});

afterEach(() => {
  for (const each of undo.splice(0)) each();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("a run in someone's own loop is shown with its numbers, and then its image", () => {
  expect([el.dataset.state, el.dataset.show]).toEqual(["idle", "nothing"]);
  const { header, frames } = madeRun();
  model.change({ header, frame0: frames[0], frame1: frames[1], state: "running" });
  expect([el.dataset.frames, el.dataset.show]).toEqual(["2", "preview"]);
  expect(text(".sdw-numbers dd")).toBe("1 (0–3)");
  const data = new Uint8Array([1]);
  model.change({ pictures: [{ data, type: "image/png" }], current: 1, state: "done" });
  expect(el.dataset.show).toBe("picture");
});

test("it asks whether a kernel is there, and has neither history nor panels", () => {
  expect(model.sent).toEqual([{ kind: "hello" }]);
  model.change({ panels: ["denoising"] });
  expect(el.querySelectorAll(".sdw-history, .sdw-denoising")).toHaveLength(0);
});

test("keys pressed in it stay in it", () => {
  const notebook = vi.fn();
  document.body.addEventListener("keydown", notebook);
  const key = new KeyboardEvent("keydown", { key: "d", bubbles: true });
  el.querySelector(".sdw-v-slider")?.dispatchEvent(key);
  expect(notebook).not.toHaveBeenCalled();
  document.body.removeEventListener("keydown", notebook);
});

test("removed, it listens to nothing, and no clock runs", () => {
  for (const each of undo.splice(0)) each();
  expect([model.listening, vi.getTimerCount()]).toEqual([0, 0]);
});
