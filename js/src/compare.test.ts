import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel } from "../test/model";
import { madeRun, nothingSelected, type Options } from "../test/runs";
import compare from "./compare";
import { stepAt } from "./lib/traces";

/** What a widget needs of its model, with the listeners counted. */
function film(frames: Uint8Array[]): DataView {
  const size = frames.reduce((sum, frame) => sum + 4 + frame.length, 0);
  const out = new DataView(new ArrayBuffer(size));
  let at = 0;
  for (const frame of frames) {
    out.setUint32(at, frame.length, true);
    new Uint8Array(out.buffer).set(frame, at + 4);
    at += 4 + frame.length;
  }
  return out;
}

const made = (run: number, options: Options) => {
  const { header, frames } = madeRun({ grids: [[4, 4]], ...options });
  return { header: { ...header, run, ...options.header }, film: film(frames) };
};

function state(...traces: ReturnType<typeof made>[]): Record<string, unknown> {
  return {
    uid: `${Math.random()}`,
    headers: traces.map(({ header }) => header),
    labels: traces.map((_, i) => `run ${i + 1}`),
    pictures: traces.map(() => []),
    ...Object.fromEntries(traces.map((trace, i) => [`film${i}`, trace.film])),
    ...nothingSelected,
  };
}

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;

function show(...traces: ReturnType<typeof made>[]) {
  model = new FakeModel(state(...traces));
  el = document.createElement("div");
  document.body.replaceChildren(el);
  const widget = compare as unknown as Record<
    "initialize" | "render",
    (props: object) => () => void
  >;
  const forget = widget.initialize({ model });
  const clear = widget.render({ model, el });
  undo = () => {
    clear();
    forget();
  };
}

const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const texts = (selector: string) => all(selector).map((each) => each.textContent);
const steps = () => all(".sdw-c-run").map((run) => Number(run.dataset.step));
const shown = () => all(".sdw-heat").map((heat) => heat.dataset.word);
const chip = (word: string) => el.querySelector<HTMLElement>(`.sdw-chip[data-word="${word}"]`);

beforeEach(() => {
  vi.useFakeTimers();
  show(
    made(1, { steps: 5, prompts: ["a cat by a car"] }),
    made(2, { steps: 5, prompts: ["a dog by a car"], header: { guidance_scale: 7.5 } }),
  );
});

afterEach(() => {
  undo();
  vi.useRealTimers();
});

test("runs stand side by side, each with its step", () => {
  expect(all(".sdw-c-run")).toHaveLength(2);
  expect(el.dataset.frames).toBe("5 5");
  expect(steps()).toEqual([4, 4]);
  expect(texts(".sdw-c-where > :first-child")[0]).toBe("step 4 (0–4) · σ 2.00");
});

test("runs of as many steps are locked by the step", () => {
  model.set("step", 2);
  expect(steps()).toEqual([2, 2]);
});

test("runs of different lengths are locked by how far they are", () => {
  undo();
  show(made(1, { steps: 3 }), made(2, { steps: 9 }), made(3, { steps: 5 }));
  model.set("step", 4); // of the longest
  expect(steps()).toEqual([1, 4, 2]);
  expect(el.dataset.step).toBe("4");
  model.set("step", 0);
  expect(steps()).toEqual([0, 0, 0]);
  model.set("step", -1);
  expect(steps()).toEqual([2, 8, 4]);
});

test("ends go with ends", () => {
  expect([0, 19].map((step) => stepAt(step, 20, 10))).toEqual([0, 9]);
  expect([0, 9].map((step) => stepAt(step, 10, 20))).toEqual([0, 19]);
  expect(stepAt(0, 1, 20)).toBe(0);
  expect(stepAt(-1, 20, 10)).toBe(-1);
});

test("one scrubber moves all, and the kernel hears of it", () => {
  const slider = el.querySelector<HTMLInputElement>("input[type=range].sdw-v-slider");
  if (!slider) throw new Error("no slider");
  slider.value = "1";
  slider.dispatchEvent(new Event("input"));
  expect(steps()).toEqual([1, 1]);
  expect(model.state.step).toBe(1);
  expect(model.saved).toHaveLength(1);
});

test("the words are those of all prompts, and one is pinned in all", () => {
  expect(texts(".sdw-chip:not(.sdw-chip-quiet)")).toEqual(["a", "cat", "by", "a", "car", "dog"]);
  chip("car")?.click();
  expect(model.state.word).toBe("car");
  expect(shown()).toEqual(["car", "car"]);
});

test("a run whose prompt lacks the word says so", () => {
  chip("dog")?.dispatchEvent(new Event("pointerover", { bubbles: true }));
  expect(shown()).toEqual(["", "dog"]);
  expect(all(".sdw-c-run").map((run) => run.dataset.absent)).toEqual(["true", "false"]);
  expect(texts(".sdw-c-run .sdw-c-note")).toEqual(["no “dog” here", ""]);
});

test("only what differs is bold", () => {
  const bold = all(".sdw-c-run").map((run) =>
    [...run.querySelectorAll("strong")].map((each) => each.textContent?.trim()),
  );
  expect(bold).toEqual([
    ["cat", "guidance 3"],
    ["dog", "guidance 7.5"],
  ]);
  expect(texts(".sdw-c-settings")[0]).toBe("seed 7guidance 3dpmpp_2m5 stepsemoji");
});

test("a run without attention says why it has no map", () => {
  undo();
  show(made(1, { grids: [] }), made(2, {}));
  expect(texts(".sdw-c-where .sdw-c-note")).toEqual(["", ""]);
  chip("cat")?.click();
  expect(texts(".sdw-c-where .sdw-c-note")).toEqual(["attention not recorded", ""]);
});

test("a prompt stands there as it was written, also what did not fit", () => {
  undo();
  const prompt = "a well-known cat, and more";
  const words = [
    ["a", 0],
    ["well", 2],
    ["-", 6],
    ["known", 7],
    ["cat", 13],
  ].map(([text, start], i) => {
    return { text, start, end: Number(start) + String(text).length, tokens: [i + 1] };
  });
  const picture = { ...made(1, { prompts: [prompt] }).header.pictures[0], words };
  const header = { pictures: [picture] as never };
  show(made(1, { prompts: [prompt], header }), made(2, { prompts: ["a cat"] }));
  expect(texts(".sdw-c-prompt")[0]).toBe(prompt);
  expect(texts(".sdw-c-run:first-child strong")).toEqual(["well", "-", "known"]);
});

test("text of a prompt stays text", () => {
  undo();
  show(made(1, { prompts: ["<img src=x>"] }), made(2, { prompts: ["<b>cat</b>"] }));
  expect(all("img[src=x], b")).toEqual([]);
  expect(texts(".sdw-c-prompt")).toEqual(["<img src=x>", "<b>cat</b>"]);
});

test("two runs have their difference beside them, three have none", () => {
  const said = () => texts(".sdw-c-difference .sdw-c-note")[0];
  expect(said()).toBe("right minus left; grey is equal. Mean 0.0\u00a0%.");
  model.set("film1", film(madeRun({ grids: [[4, 4]], steps: 5 }).frames.slice(1)));
  model.set("step", 0); // of which the second now lacks the frame
  expect(said()).not.toContain(" 0.0 %");
  undo();
  show(made(1, {}), made(2, {}), made(3, {}));
  expect(all(".sdw-c-run")).toHaveLength(3);
  expect(all(".sdw-c-difference")).toEqual([]);
});

test("runs of different sizes have no difference, and that is said", () => {
  undo();
  show(made(1, { size: [32, 32] }), made(2, { size: [64, 32] }));
  expect(texts(".sdw-c-difference .sdw-c-note")).toEqual(["The two differ in size."]);
});

test("other runs take their places", () => {
  const three = [made(4, { steps: 2 }), made(5, { steps: 2 }), made(6, { steps: 2 })];
  model.change({ ...state(...three), uid: model.state.uid });
  expect(el.dataset.frames).toBe("2 2 2");
  expect(texts(".sdw-chip:not(.sdw-chip-quiet)")).toEqual(["a", "cat"]);
});

test("where the films are smaller ones, the whole ones are asked for once, and taken", () => {
  undo();
  const [first, second] = [made(8, { steps: 6 }), made(9, { steps: 6 })];
  const few = film(madeRun({ grids: [[4, 4]], steps: 2 }).frames);
  const saved = (one: typeof first) => ({ header: { ...one.header, saved: true }, film: few });
  show(saved(first), saved(second));
  expect(el.dataset.frames).toBe("2 2");
  expect(model.sent).toEqual([{ kind: "frames" }]);
  model.emit("msg:custom", { kind: "frames", run: 3, names: ["film0"] }, [first.film]);
  expect(el.dataset.frames).toBe("2 2");
  const names = ["film0", "film1"];
  model.emit("msg:custom", { kind: "frames", run: 8, names }, [first.film, second.film]);
  expect(el.dataset.frames).toBe("6 6");
  expect(model.sent).toHaveLength(1);
});

test("words are not offered where no run has attention, and it is said why", () => {
  expect(el.dataset.recorded).toBe("true");
  undo();
  show(made(1, { grids: [] }), made(2, {}));
  expect(el.dataset.recorded).toBe("true");
  undo();
  show(made(1, { grids: [] }), made(2, { grids: [] }));
  expect(el.dataset.recorded).toBe("false");
  expect(texts(".sdw-unrecorded")[0]).toContain("attention=True");
});

test("what is no trace is shown as nothing, and breaks nothing", () => {
  model.change({ headers: [{ v: 9 }, null], film0: "x", film1: null, pictures: 5, labels: null });
  expect(el.dataset.frames).toBe("0 0");
  expect(steps()).toEqual([-1, -1]);
});

test("two views of one model show the same", () => {
  const other = document.createElement("div");
  const render = compare.render as unknown as (props: object) => () => void;
  const clear = render({ model, el: other });
  chip("car")?.click();
  expect(other.querySelector<HTMLElement>(".sdw-heat")?.dataset.word).toBe("car");
  clear();
});

test("removed, it listens to nothing", () => {
  expect(model.listening).toBeGreaterThan(0);
  undo();
  expect(model.listening).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});
