import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel } from "../test/model";
import walk from "./walk";
import { indexNear, nextIndex, ordered, type Shot, wordsOf } from "./walk/frames";

const shot = (place: number, words = `at ${place}`) => ({
  place,
  about: [
    ["prompt", words],
    ["seed", "7"],
  ],
});
const PNG = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;
const find = (selector: string) => el.querySelector(selector) as HTMLElement;
const places = () =>
  [...el.querySelectorAll(".sdw-wk-thumb")].map((one) => one.getAttribute("aria-label"));

beforeEach(() => {
  vi.useFakeTimers();
  let urls = 0;
  URL.createObjectURL = () => `blob:${urls++}`;
  URL.revokeObjectURL = () => {};
  model = new FakeModel({
    uid: "w",
    plan: {
      count: 5,
      legs: 1,
      loop: false,
      stops: [
        ["a cat", 7],
        ["a dog", 7],
      ],
    },
    shots: [shot(0, "a cat"), shot(1, "a dog"), shot(0.5)],
    about: [["sampler", "euler"]],
    state: "running",
    message: "3 of 5 frames, 2 s left",
    still0: PNG,
    still1: PNG.slice(),
    still2: PNG.slice(),
  });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = walk.render({ model, el } as never) as () => void;
});
afterEach(() => {
  undo();
  vi.useRealTimers();
});

test("frames stand in order of their places, however they come", () => {
  expect(places()).toEqual([
    "frame 1: a cat, seed 7",
    "frame 2: at 0.5, seed 7",
    "frame 3: a dog, seed 7",
  ]);
  model.change({ shots: [...(model.get("shots") as object[]), shot(0.25)], still3: PNG.slice() });
  expect(places()[1]).toBe("frame 2: at 0.25, seed 7");
  expect(find(".sdw-wk-strip").children.length).toBe(4);
});

test("the frame on show stays when others come before it", () => {
  const slider = find("input[type=range]") as HTMLInputElement;
  slider.value = "1";
  slider.dispatchEvent(new Event("input"));
  expect(el.dataset.place).toBe("0.5");
  model.change({ shots: [...(model.get("shots") as object[]), shot(0.25)], still3: PNG.slice() });
  expect(el.dataset.place).toBe("0.5");
  expect(slider.value).toBe("2");
});

test("a click on a frame shows its settings", () => {
  (el.querySelectorAll(".sdw-wk-thumb")[2] as HTMLElement).click();
  expect(find(".sdw-wk-caption").textContent).toBe("a dog, seed 7");
  expect(find(".sdw-wk-about").textContent).toBe("prompta dogseed7samplereuler");
  expect(find(".sdw-wk-thumb[aria-current]").getAttribute("aria-label")).toContain("a dog");
});

test("it plays, and any move pauses it", () => {
  find(".sdw-wk-play").click();
  vi.advanceTimersByTime(250);
  expect(el.dataset.place).toBe("1");
  vi.advanceTimersByTime(125);
  expect(el.dataset.place).toBe("0"); // and again
  const slider = find("input[type=range]") as HTMLInputElement;
  slider.value = "2";
  slider.dispatchEvent(new Event("input"));
  vi.advanceTimersByTime(1000);
  expect(el.dataset.place).toBe("1");
  expect(find(".sdw-wk-play").getAttribute("aria-label")).toBe("play the frames");
});

test("space on the slider plays, and is no click on a button", () => {
  const press = (on: HTMLElement) =>
    on.dispatchEvent(new KeyboardEvent("keydown", { key: " ", bubbles: true, cancelable: true }));
  press(find("input[type=range]"));
  expect(find(".sdw-wk-play").getAttribute("aria-label")).toBe("pause");
  press(find(".sdw-wk-play"));
  expect(find(".sdw-wk-play").getAttribute("aria-label")).toBe("pause");
});

test("the kernel is asked to stop, to go on, and for files", () => {
  find(".sdw-wk-run").click();
  expect(find(".sdw-wk-status").textContent).toBe("Stopping after this step");
  model.change({ state: "stopped", message: "Stopped after 3 of 5 frames" });
  expect(find(".sdw-wk-run").textContent).toBe("Continue");
  find(".sdw-wk-run").click();
  find(".sdw-wk-saves button").click();
  expect(model.sent).toEqual([
    { kind: "hello" },
    { kind: "stop" },
    { kind: "start" },
    { kind: "save", ending: ".webp", fps: 8, back: false },
  ]);
});

test("an error is said, and nothing in a text is markup", () => {
  model.change({ state: "error", message: "<b>no</b> memory" });
  expect(find(".sdw-error").textContent).toBe("<b>no</b> memory");
  expect(find(".sdw-error").childElementCount).toBe(0);
});

test("a walk without frames has nothing to play", () => {
  undo();
  model = new FakeModel({ uid: "w", plan: { count: 5 }, shots: [], about: [], state: "running" });
  undo = walk.render({ model, el } as never) as () => void;
  expect(find(".sdw-wk-play").getAttribute("aria-disabled")).toBe("true");
  find(".sdw-wk-play").click();
  vi.advanceTimersByTime(1000);
  expect(find(".sdw-wk-picture").hidden).toBe(true);
});

test("there and back turns at both ends", () => {
  let [index, ahead] = [0, true];
  const seen = [];
  for (let i = 0; i < 6; i++) {
    ({ index, ahead } = nextIndex(index, 3, ahead, true));
    seen.push(index);
  }
  expect(seen).toEqual([1, 2, 1, 0, 1, 2]);
  expect(nextIndex(0, 1, true, true)).toEqual({ index: 0, ahead: true });
});

test("the nearest frame, and a frame in words", () => {
  const all = ordered([shot(0), shot(1), shot(0.5)]);
  expect([0, 0.2, 0.3, 0.8, 9].map((place) => indexNear(all, place))).toEqual([0, 0, 1, 2, 2]);
  expect(indexNear([], 3)).toBe(0);
  const about: Shot["about"] = [
    ["prompt", "none"],
    ["seed", "7"],
    ["variation", "0.2 of the way to seed 9"],
  ];
  expect(wordsOf({ place: 0, number: 0, about })).toBe(
    "no prompt, seed 7, 0.2 of the way to seed 9",
  );
});
