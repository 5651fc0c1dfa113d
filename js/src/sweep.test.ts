import type { AnyModel } from "@anywidget/types";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel, lose } from "../test/model";
import sweep, { type Model } from "./sweep";

const AXES = [
  { name: "seed", values: ["0", "1", "2"] },
  { name: "prompt", values: ["a cat", "a dog"] },
];
const THREE = [...AXES, { name: "guidance scale", values: ["1", "7"] }];
const [WAITING, RUNNING, DONE, FAILED] = [0, 1, 2, 3] as const;

const STATE = {
  uid: "one",
  plan: { axes: AXES, about: [["steps", "20"]] },
  shape: [64, 64],
  run: { state: "idle", message: "" },
  progress: { count: 6, done: 0, failed: 0, steps: 120, saved: 0, left: null },
  cells: new Uint8Array(6),
  score_names: [],
  scores: new Uint8Array(),
  errors: {},
  sprite: {},
};

let urls: Set<string>;
let watched: { callback: (entries: unknown[]) => void; targets: Set<Element> }[];
const remove: (() => void)[] = [];

beforeEach(() => {
  vi.useFakeTimers();
  urls = countedUrls();
  watched = [];
  vi.stubGlobal(
    "IntersectionObserver",
    class {
      targets = new Set<Element>();
      constructor(readonly callback: (entries: unknown[]) => void) {
        watched.push(this);
      }
      observe(element: Element) {
        this.targets.add(element);
      }
      unobserve(element: Element) {
        this.targets.delete(element);
      }
      disconnect() {
        this.targets.clear();
      }
    },
  );
});
afterEach(() => {
  for (const each of remove.splice(0)) each();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
  vi.useRealTimers();
  document.body.replaceChildren();
});

/** Scrolls these points, or all, into sight. */
function see(points?: number[]) {
  for (const { callback, targets } of watched) {
    const entries = [...targets]
      .filter((one) => !points || points.includes(Number((one as HTMLElement).dataset.point)))
      .map((target) => ({ target, isIntersecting: true }));
    callback(entries);
  }
}

function shown(change: Record<string, unknown> = {}) {
  const model = new FakeModel({ ...STATE, ...change });
  const el = document.createElement("div");
  document.body.append(el);
  const options = { model: model as unknown as AnyModel<Model>, el };
  const begun = sweep.initialize?.(options as never) as () => void;
  const drawn = sweep.render?.(options as never) as () => void;
  const end = () => {
    drawn();
    begun();
  };
  remove.push(end);
  return { model, el, end };
}

const cellOf = (el: Element, point: number) =>
  el.querySelector(`[data-point="${point}"].sdw-s-cell`) as HTMLElement;
const button = (el: Element, words: string) =>
  [...el.querySelectorAll("button")].find((one) => one.textContent === words) as HTMLElement;
const text = (el: Element, selector: string) => el.querySelector(selector)?.textContent;
const jpeg = (byte = 1) => new Uint8Array([0xff, 0xd8, byte]);
const asked = (model: FakeModel, kind: string) => model.sent.filter((one) => one.kind === kind);
const press = (el: Element, key: string) =>
  el.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));

test("cells are there, with their names, before anything has been made", () => {
  const { el } = shown();
  expect(el.querySelectorAll('[role="gridcell"]')).toHaveLength(6);
  const heads = [...el.querySelectorAll('[role="columnheader"]')].map((one) => one.textContent);
  expect(heads).toEqual(["prompt", "seed 0", "seed 1", "seed 2"]);
  const sides = [...el.querySelectorAll('[role="rowheader"]')].map((one) => one.textContent);
  expect(sides).toEqual(["a cat", "a dog"]);
  expect(cellOf(el, 4).getAttribute("aria-label")).toBe("seed 1, a dog, not made yet");
  expect(el.querySelector<HTMLElement>(".sdw-s-tabs")?.hidden).toBe(true);
});

test("images appear as they come, the running cell shows its steps, a failed one says why", () => {
  const { el, model } = shown();
  see();
  model.change({
    run: { state: "running", message: "Making images" },
    cells: new Uint8Array([DONE, RUNNING, FAILED, WAITING, WAITING, WAITING]),
    progress: { count: 6, done: 1, failed: 1, steps: 120, saved: 30, left: 12 },
    errors: { 2: "Not enough memory.\nTake a smaller size." },
  });
  model.emit("msg:custom", { kind: "news", images: [0], running: [[1, 5, 20]] }, [jpeg()]);
  const first = cellOf(el, 0).querySelector("img") as HTMLImageElement;
  expect(first.getAttribute("src")).toMatch(/^blob:/);
  expect(cellOf(el, 1).style.getPropertyValue("--sdw-made")).toBe("0.25");
  expect(cellOf(el, 2).textContent).toContain("Failed\nNot enough memory.");
  expect(cellOf(el, 2).getAttribute("aria-label")).toContain("failed, Not enough memory.");
  expect(text(el, ".sdw-s-counts")).toBe("1 of 6 images · 1 failed · about 12 s left");
  expect(text(el, ".sdw-s-saved")).toBe("30 of 120 steps saved by sharing");
  expect(el.querySelector("progress")?.value).toBeCloseTo(2 / 6);
});

test("images in sight that did not come are asked for, and others only once they are seen", async () => {
  const cells = new Uint8Array([DONE, DONE, DONE, WAITING, WAITING, WAITING]);
  const { model } = shown({ cells });
  expect(asked(model, "look")).toEqual([]);
  see([0, 3]);
  expect(asked(model, "look")).toEqual([{ kind: "look", points: [0] }]);
  see([1, 2]);
  expect(asked(model, "look")).toHaveLength(1); // the first is not answered yet
  model.emit("msg:custom", { kind: "news", images: [0], running: [] }, [jpeg()]);
  expect(asked(model, "look")[1]).toEqual({ kind: "look", points: [1, 2] });
  await vi.advanceTimersByTimeAsync(2500); // not answered
  see();
  expect(asked(model, "look")).toHaveLength(2); // no kernel is asked for ever
});

test("a saved notebook shows every image without a kernel", () => {
  const cells = new Uint8Array([DONE, DONE, FAILED, DONE, DONE, DONE]);
  const sprite = { data: jpeg(), columns: 3 };
  const { el } = shown({ cells, sprite, run: { state: "done", message: "5 images" } });
  see();
  const tile = cellOf(el, 4).querySelector(".sdw-s-tile") as HTMLElement;
  expect(tile.hidden).toBe(false);
  expect(tile.style.backgroundPosition).toBe("50% 100%");
  expect(cellOf(el, 2).dataset.image).toBe("none");
  cellOf(el, 4).click();
  expect(text(el, ".sdw-s-about")).toContain("steps20");
});

test("arrows move within the grid, Enter opens, and Tab reaches a single cell", () => {
  const { el, model } = shown({ cells: new Uint8Array(6).fill(DONE) });
  const first = cellOf(el, 0);
  first.focus();
  press(first, "ArrowRight");
  press(cellOf(el, 1), "ArrowDown");
  expect(document.activeElement).toBe(cellOf(el, 4));
  press(cellOf(el, 4), "End");
  expect(document.activeElement).toBe(cellOf(el, 5));
  press(cellOf(el, 5), "ArrowDown");
  expect(document.activeElement).toBe(cellOf(el, 5));
  press(cellOf(el, 5), "Home");
  press(cellOf(el, 3), "Enter");
  expect(asked(model, "open")).toEqual([{ kind: "open", point: 3 }]);
  expect(cellOf(el, 3).getAttribute("aria-selected")).toBe("true");
  expect(el.querySelectorAll('[role="gridcell"][tabindex="0"]')).toHaveLength(1);
});

const POINT = {
  kind: "point",
  index: 3,
  about: [["prompt", "a dog"]],
  made: {
    model: "emoji scenes",
    task: "text to image",
    settings_format: 4,
    settings: { prompt: "a dog", seed: 0, steps: 20 },
  },
  error: "",
  scores: [],
  type: "image/png",
  studio: true,
  whole: false,
};

test("an opened cell has its settings in words, its code, and the Studio", async () => {
  const { el, model } = shown({ cells: new Uint8Array(6).fill(DONE) });
  cellOf(el, 3).click();
  model.emit("msg:custom", POINT, [new Uint8Array([0x89])]);
  expect(text(el, ".sdw-s-title")).toBe("seed 0, a dog");
  expect(text(el, ".sdw-s-about")).toBe("prompta dog");
  const written = vi.fn(async (_: string) => {});
  vi.stubGlobal("navigator", { clipboard: { writeText: written } });
  button(el, "Copy as code").click();
  await vi.advanceTimersByTimeAsync(1);
  expect(written.mock.calls[0]?.[0]).toContain('model.generate("a dog", seed=0)');
  expect(text(el, ".sdw-s-status")).toContain("Copied");
  button(el, "Use in the Studio").click();
  expect(asked(model, "use")).toEqual([{ kind: "use", point: 3 }]);
  const save = el.querySelector<HTMLAnchorElement>(".sdw-s-save");
  expect(save?.download).toBe("seed-0-a-dog.png");
});

test("two images are compared by Compare, by a second click or by c; Escape ends it", () => {
  const { el, model } = shown({ cells: new Uint8Array([DONE, DONE, DONE, DONE, FAILED, DONE]) });
  cellOf(el, 0).click();
  button(el, "Compare…").click();
  expect(text(el, ".sdw-s-hint")).toContain("Compare with which image?");
  cellOf(el, 4).click(); // it failed: there is nothing to compare
  expect(asked(model, "compare")).toEqual([]);
  cellOf(el, 5).click();
  expect(asked(model, "compare")).toEqual([{ kind: "compare", points: [0, 5] }]);
  const pair = el.querySelector<HTMLElement>(".sdw-s-pair");
  expect(pair?.hidden).toBe(false);
  expect(pair?.textContent).toContain("seed 2, a dog");
  press(cellOf(el, 5), "Escape");
  expect(pair?.hidden).toBe(true);
  cellOf(el, 3).focus();
  press(cellOf(el, 3), "ArrowLeft");
  press(cellOf(el, 3), "c");
  expect(asked(model, "compare")[1]).toEqual({ kind: "compare", points: [0, 3] });
});

test("the third setting has tabs, which keys turn, also from inside the grid", () => {
  const cells = new Uint8Array(12).fill(DONE);
  const { el } = shown({ plan: { axes: THREE }, shape: [64, 32], cells });
  const tabs = [...el.querySelectorAll<HTMLElement>('[role="tab"]')];
  expect(tabs.map((one) => one.textContent)).toEqual(["guidance scale 1", "guidance scale 7"]);
  expect(cellOf(el, 6)).toBeNull();
  (tabs[1] as HTMLElement).click();
  expect(cellOf(el, 0)).toBeNull();
  cellOf(el, 10).focus();
  press(cellOf(el, 10), "PageUp");
  expect(tabs[0]?.getAttribute("aria-selected")).toBe("true");
  expect(document.activeElement).toBe(cellOf(el, 4)); // the same place
  tabs[0]?.focus();
  press(tabs[0] as HTMLElement, "ArrowRight");
  expect(document.activeElement).toBe(tabs[1]);
  const grid = el.querySelector<HTMLElement>('[role="grid"]');
  expect(grid?.style.getPropertyValue("--sdw-h")).toBe("64px"); // half of M
});

test("one axis flows, and cells say what they are", () => {
  const axes = [{ name: "seed", values: ["4", "5", "6"] }];
  const { el } = shown({ plan: { axes }, cells: new Uint8Array(3) });
  expect(el.querySelectorAll('[role="columnheader"]')).toHaveLength(0);
  const labels = [...el.querySelectorAll(".sdw-s-label")].map((one) => one.textContent);
  expect(labels).toEqual(["seed 4", "seed 5", "seed 6"]);
});

test("a score is a bar and a number in each cell, and sorts them", () => {
  const scores = new Uint8Array(new Float32Array([1, 3, Number.NaN, 2, 5, 4]).buffer);
  const cells = new Uint8Array([DONE, DONE, FAILED, DONE, DONE, DONE]);
  const { el } = shown({ cells, scores, score_names: ["contrast"] });
  const list = el.querySelector("select") as HTMLSelectElement;
  list.value = "0";
  list.dispatchEvent(new Event("change"));
  const bar = cellOf(el, 1).querySelector<HTMLElement>(".sdw-s-score");
  expect(bar?.style.getPropertyValue("--sdw-part")).toBe("0.5");
  expect(bar?.textContent).toBe("3.00");
  expect(cellOf(el, 1).getAttribute("aria-label")).toBe("seed 1, a cat, contrast 3.00");
  button(el, "Sort").click();
  const order = [...el.querySelectorAll<HTMLElement>(".sdw-s-cell")].map(
    (one) => one.dataset.point,
  );
  expect(order).toEqual(["4", "5", "1", "3", "0", "2"]);
});

test("buttons ask the kernel, and say so until it has acted", async () => {
  const { el, model } = shown({ run: { state: "running", message: "" } });
  model.emit("msg:custom", { kind: "hello" }, []);
  button(el, "Pause").click();
  expect(asked(model, "pause")).toHaveLength(1);
  expect(text(el, ".sdw-s-status")).toBe("Pausing");
  await vi.advanceTimersByTimeAsync(1100);
  expect(text(el, ".sdw-s-status")).toBe("Pausing once the cell has finished");
  model.change({ run: { state: "paused", message: "Paused" } });
  expect(text(el, ".sdw-s-status")).toBe("Paused");
  button(el, "Continue").click();
  button(el, "Cancel").click();
  expect(asked(model, "resume")).toHaveLength(1);
  expect(asked(model, "stop")).toHaveLength(1);
  model.change({ run: { state: "error", message: "The scheduler is gone." } });
  expect(text(el, ".sdw-s-error")).toBe("The scheduler is gone.");
});

test("a sweep whose kernel is gone has stopped, and its buttons do nothing", async () => {
  const { el, model } = shown({ run: { state: "running", message: "Making images" } });
  await lose(model);
  expect(text(el, ".sdw-s-status")).toContain("The kernel has ended");
  const before = model.sent.length;
  button(el, "Continue").click();
  button(el, "Save contact sheet").click();
  expect(model.sent).toHaveLength(before);
});

test("a second view shows the images that the first one got", () => {
  const { el, model } = shown({ cells: new Uint8Array(6).fill(DONE) });
  see();
  model.emit("msg:custom", { kind: "news", images: [2], running: [] }, [jpeg()]);
  const other = document.createElement("div");
  document.body.append(other);
  const options = { model: model as unknown as AnyModel<Model>, el: other };
  remove.push(sweep.render?.(options as never) as () => void);
  see();
  const src = (where: Element) => cellOf(where, 2).querySelector("img")?.getAttribute("src");
  expect(src(other)).toBe(src(el));
});

test("another plan starts over", () => {
  const { el, model } = shown({ cells: new Uint8Array(6).fill(DONE) });
  cellOf(el, 3).click();
  model.change({
    plan: { axes: THREE },
    cells: new Uint8Array(12),
    progress: { count: 12 },
  });
  expect(el.querySelectorAll('[role="gridcell"]')).toHaveLength(6); // of two tabs
  expect(text(el, ".sdw-s-title")).toContain("Choose an image");
});

test("malformed traits and messages show nothing and break nothing", () => {
  const { el, model } = shown({
    plan: {},
    cells: null,
    progress: null,
    scores: null,
    sprite: null,
  });
  expect(el.querySelectorAll('[role="gridcell"]')).toHaveLength(0);
  for (const message of [
    null,
    7,
    { kind: "news" },
    { kind: "news", images: "x", running: [[1], 3, null] },
    { kind: "point", index: "zero" },
    { kind: "point", index: 400, about: 3, scores: 1 },
  ]) {
    model.emit("msg:custom", message, []);
  }
  model.change({ plan: { axes: AXES }, shape: [], cells: new Uint8Array(5) });
  expect(el.querySelectorAll('[role="gridcell"]')).toHaveLength(6);
});

test("a closed view leaves nothing behind", () => {
  const { el, model, end } = shown({ cells: new Uint8Array(6).fill(DONE) });
  see();
  model.emit("msg:custom", { kind: "news", images: [3], running: [] }, [jpeg()]);
  cellOf(el, 3).click();
  model.emit("msg:custom", POINT, [new Uint8Array([0x89])]);
  expect(urls.size).toBeGreaterThan(0);
  remove.pop();
  end();
  expect(model.listening).toBe(0);
  expect(urls.size).toBe(0);
});
