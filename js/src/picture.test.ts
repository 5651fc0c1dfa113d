import { afterEach, beforeEach, expect, test, vi } from "vitest";
import picture, { type Model } from "./picture";

/** What a widget needs of its model, with the listeners counted. */
class FakeModel {
  sent: Record<string, unknown>[] = [];
  listeners = new Map<string, Set<(...values: unknown[]) => void>>();
  state: Model = {
    run: { id: 0, state: "idle", message: "" },
    frame: {},
    pictures: [],
    shape: [128, 128],
    history: [],
    current: -1,
  };

  get<K extends keyof Model>(name: K) {
    return this.state[name];
  }
  send(message: Record<string, unknown>) {
    this.sent.push(message);
  }
  on(name: string, listener: () => void) {
    this.listeners.set(name, (this.listeners.get(name) ?? new Set()).add(listener));
  }
  off(name: string, listener: () => void) {
    this.listeners.get(name)?.delete(listener);
  }
  emit(name: string, ...values: unknown[]) {
    for (const listener of this.listeners.get(name) ?? []) listener(...values);
  }
  set(changes: Partial<Model>) {
    Object.assign(this.state, changes);
    for (const name of Object.keys(changes)) this.emit(`change:${name}`);
  }
  get listening() {
    return [...this.listeners.values()].reduce((sum, some) => sum + some.size, 0);
  }
}

let model: FakeModel;
let root: HTMLElement;
let el: HTMLElement;
let refresh: () => void;
let resized: () => void;
let undo: () => void;

const rgb = (width = 2, height = 2) => new DataView(new Uint8Array(width * height * 3).buffer);

function frames(run: number, ...steps: number[]) {
  const metas = steps.map((step) => {
    return { run, step, steps: 20, sigma: 1, seconds: 0.05, left: 1, width: 2, height: 2 };
  });
  const buffers = steps.flatMap(() => [rgb(), rgb()]);
  model.emit("msg:custom", { kind: "frames", frames: metas }, buffers);
}

const result = { type: "image/png", prompt: "a cat", seed: 7, label: "the picture" } as const;
const done = { pictures: [{ ...result, data: rgb() }], current: 1 };

function begin(id: number) {
  model.set({ run: { id, state: "loading", message: "Loading" } });
  model.set({ run: { id, state: "running", message: "Denoising" } });
}

const count = () => el.dataset.frames;
const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const text = (selector: string) => el.querySelector(selector)?.textContent;

beforeEach(() => {
  const waiting: (() => void)[] = [];
  vi.stubGlobal("requestAnimationFrame", (f: () => void) => waiting.push(f));
  vi.stubGlobal("cancelAnimationFrame", () => waiting.splice(0));
  vi.stubGlobal(
    "ResizeObserver",
    class {
      constructor(callback: () => void) {
        resized = callback;
      }
      observe() {}
      disconnect() {}
    },
  );
  vi.useFakeTimers({ toFake: ["setTimeout", "setInterval", "clearTimeout", "clearInterval"] });
  refresh = () => {
    while (waiting.length > 0) waiting.shift()?.();
  };
  model = new FakeModel();
  el = document.createElement("div");
  const button = (name: string) => {
    const made = document.createElement("button");
    made.className = name;
    return made;
  };
  root = document.createElement("div");
  root.className = "sdw-studio";
  root.append(button("sdw-generate"), button("sdw-stop"));
  document.body.replaceChildren(root);
  const render = picture.render as unknown as (props: object) => () => void;
  undo = render({ model, el });
  root.append(el); // hosts attach the element after rendering
  resized();
});

afterEach(() => {
  undo();
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

test("the Studio around the picture carries the state", () => {
  expect(root.dataset.state).toBe("idle");
  begin(1);
  expect(root.dataset.state).toBe("running");
  expect(root.querySelector(".sdw-generate")?.getAttribute("aria-disabled")).toBe("true");
  expect(root.querySelector(".sdw-stop")?.getAttribute("aria-disabled")).toBe("false");
});

test("every frame is counted, also of several in one message", () => {
  begin(1);
  frames(1, 1);
  frames(1, 2, 3, 4);
  refresh();
  expect(count()).toBe("4");
  expect(text(".sdw-numbers dd")).toBe("4 of 20");
});

test("the end is shown only after all the frames before it", () => {
  begin(1);
  frames(1, 1, 2);
  model.set({ ...done, run: { id: 1, state: "done", message: "Done" } });
  expect(root.dataset.state).toBe("running");
  refresh();
  expect(root.dataset.state).toBe("done");
  expect(count()).toBe("2");
  expect(el.dataset.show).toBe("picture");
});

test("a new run counts from nothing, and late frames of the old one are dropped", () => {
  begin(1);
  frames(1, 1, 2);
  refresh();
  begin(2);
  expect(count()).toBe("0");
  frames(1, 3);
  refresh();
  expect(count()).toBe("0");
});

test("frames that were seen already are not counted again", () => {
  begin(1);
  frames(1, 1, 2);
  frames(1, 2);
  refresh();
  expect(count()).toBe("2");
});

test("a page that comes in the middle shows the frame in the traits", () => {
  undo();
  const meta = { run: 3, step: 9, steps: 20, sigma: 1, width: 2, height: 2 };
  model.state.run = { id: 3, state: "running", message: "Denoising" };
  model.state.frame = { ...meta, noisy: rgb(), clean: rgb() };
  undo = (picture.render as unknown as (props: object) => () => void)({ model, el });
  resized();
  expect(count()).toBe("1");
  expect(text(".sdw-numbers dd")).toBe("9 of 20");
  expect(el.dataset.show).toBe("preview");
});

test("an error is an alert, in words only, and the picture before it stays", () => {
  begin(1);
  frames(1, 20);
  model.set({ ...done, run: { id: 1, state: "done", message: "Done" } });
  refresh();
  const message = "<img src=x onerror=alert(1)> is no size";
  model.set({ run: { id: 1, state: "error", message } });
  refresh();
  expect(text(".sdw-error")).toBe(message);
  expect(all(".sdw-error *")).toEqual([]);
  expect(el.dataset.show).toBe("picture");
  begin(2);
  expect(text(".sdw-error")).toBe("");
});

test("a run that fails half-way gives the stage back to the picture before", () => {
  model.set({ ...done, run: { id: 1, state: "done", message: "Done" } });
  refresh();
  begin(2);
  frames(2, 1, 2);
  model.set({ run: { id: 2, state: "error", message: "No memory" } });
  refresh();
  expect(el.dataset.show).toBe("picture");
  expect(el.dataset.steps).toBeUndefined();
});

test("a stopped run leaves its last preview", () => {
  begin(1);
  frames(1, 1, 2);
  model.set({ run: { id: 1, state: "stopped", message: "Stopped" } });
  refresh();
  expect(root.dataset.state).toBe("stopped");
  expect(el.dataset.show).toBe("preview");
});

test("after a run the slider goes back through its steps", () => {
  begin(1);
  frames(1, 1, 2, 3);
  model.set({ ...done, run: { id: 1, state: "done", message: "Done" } });
  refresh();
  const slider = el.querySelector(".sdw-scrub") as HTMLInputElement;
  slider.value = "2";
  slider.dispatchEvent(new Event("input"));
  expect(text(".sdw-numbers dd")).toBe("2 of 20");
  expect(slider.getAttribute("aria-valuetext")).toBe("step 2 of 20, noise 1.00");
  expect(el.dataset.show).toBe("preview");
});

test("a picture of the history asks for its result by number", () => {
  const entry = { id: 4, prompt: "<b>", seed: 7, title: "<i>", thumbnail: rgb() };
  model.set({ history: [entry], current: 4 });
  const [thumb] = all(".sdw-thumb");
  expect(thumb?.getAttribute("aria-current")).toBe("true");
  thumb?.click();
  expect(model.sent.at(-1)).toEqual({ kind: "recall", id: 4 });
  expect(all(".sdw-history b, .sdw-history i")).toEqual([]);
});

test("Ctrl-Enter anywhere in the Studio generates", () => {
  const init = { key: "Enter", ctrlKey: true, bubbles: true };
  root.querySelector(".sdw-stop")?.dispatchEvent(new KeyboardEvent("keydown", init));
  expect(model.sent.filter((message) => message.kind === "generate")).toHaveLength(1);
});

test("without an answer from the kernel it says so, and no longer once one comes", () => {
  expect(model.sent).toEqual([{ kind: "hello" }]);
  vi.advanceTimersByTime(3100);
  expect(text(".sdw-status")).toContain("No kernel answers");
  model.emit("msg:custom", { kind: "hello" }, []);
  expect(text(".sdw-status")).toBe("");
});

test("messages that are not understood change nothing", () => {
  const before = el.innerHTML;
  for (const message of [
    null,
    5,
    "x",
    {},
    { kind: "frames" },
    { kind: "frames", frames: [null] },
  ]) {
    model.emit("msg:custom", message, []);
  }
  refresh();
  expect(el.innerHTML).toBe(before);
});

test("removed, it listens to nothing", () => {
  expect(model.listening).toBeGreaterThan(0);
  undo();
  expect(model.listening).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});
