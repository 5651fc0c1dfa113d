import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { Listened } from "../test/model";
import picture, { type Model } from "./picture";

/** What a widget needs of its model, with the listeners counted. */
class FakeModel extends Listened {
  sent: Record<string, unknown>[] = [];
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
  set(changes: Partial<Model>) {
    Object.assign(this.state, changes);
    for (const name of Object.keys(changes)) this.emit(`change:${name}`);
  }
}

let model: FakeModel;
let root: HTMLElement;
let el: HTMLElement;
let field: HTMLInputElement;
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

function finish(id: number, ...steps: number[]) {
  begin(id);
  frames(id, ...steps);
  model.set({ ...done, current: id, run: { id, state: "done", message: "Done" } });
  refresh();
}

function scrub(value: number) {
  const slider = el.querySelector(".sdw-scrub") as HTMLInputElement;
  slider.value = String(value);
  slider.dispatchEvent(new Event("input"));
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
  root.append(button("sdw-generate"), button("sdw-stop"), button("sdw-more"));
  field = document.createElement("input");
  const control = document.createElement("div");
  control.className = "sdw-width";
  control.append(field);
  const row = document.createElement("div");
  row.className = "sdw-row";
  row.append(control);
  root.append(row);
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
  expect(el.querySelector(".sdw-scrub")?.getAttribute("aria-disabled")).toBe("true");
});

test("steps that lead to no picture leave their last preview", () => {
  begin(1);
  frames(1, 1, 2);
  model.set({ run: { id: 1, state: "done", message: "Done" } });
  refresh();
  expect(el.dataset.show).toBe("preview");
  expect(count()).toBe("2");
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
  finish(1, 1, 2, 3);
  expect(text(".sdw-caption")).toBe("step 3 of 20drag to look back");
  scrub(2);
  expect(text(".sdw-numbers dd")).toBe("2 of 20");
  expect(text(".sdw-caption span")).toBe("step 2 of 20");
  const slider = el.querySelector(".sdw-scrub");
  expect(slider?.getAttribute("aria-valuetext")).toBe("step 2 of 20, noise 1.00");
  expect(el.dataset.show).toBe("preview");
  scrub(3);
  expect(el.dataset.show).toBe("picture");
});

test("also after a setting was refused the end of the slider is the finished picture", () => {
  finish(1, 1, 2, 20);
  model.set({ run: { id: 1, state: "error", message: "33 is no size" } });
  refresh();
  scrub(1);
  expect(el.dataset.show).toBe("preview");
  scrub(3);
  expect(el.dataset.show).toBe("picture");
});

test("a run whose picture never came does not end in the picture of another", () => {
  finish(1, 20);
  begin(2);
  frames(2, 1, 2);
  model.set({ run: { id: 2, state: "stopped", message: "Stopped" } });
  refresh();
  scrub(1);
  scrub(2);
  expect(el.dataset.show).toBe("preview");
});

test("during a run the slider keeps the focus but does nothing", () => {
  finish(1, 1, 2, 3);
  const slider = el.querySelector(".sdw-scrub") as HTMLInputElement;
  expect([slider.getAttribute("aria-disabled"), slider.tabIndex]).toEqual(["false", 0]);
  slider.focus();
  begin(2);
  frames(2, 1, 2);
  refresh();
  scrub(1);
  expect(text(".sdw-numbers dd")).toBe("2 of 20");
  expect(slider.value).toBe("2");
  expect([slider.getAttribute("aria-disabled"), slider.tabIndex]).toEqual(["true", -1]);
  expect(document.activeElement).toBe(slider);
});

test("many large frames are thinned, and still counted", () => {
  begin(1);
  const steps = Array.from({ length: 30 }, (_, i) => i + 1);
  const large = rgb(400, 400);
  const metas = steps.map((step) => ({ run: 1, step, steps: 30, width: 400, height: 400 }));
  const buffers = steps.flatMap(() => [large, large]);
  model.emit("msg:custom", { kind: "frames", frames: metas }, buffers);
  refresh();
  expect(count()).toBe("30");
  const slider = el.querySelector(".sdw-scrub") as HTMLInputElement;
  expect(Number(slider.max)).toBeLessThan(10);
  expect(text(".sdw-numbers dd")).toBe("30 of 30");
});

const whole = (id?: number) => {
  const { data, ...words } = { ...result, data: rgb() };
  model.emit("msg:custom", { kind: "pictures", id, pictures: [words] }, [data]);
};
const saved = { ...result, type: "image/jpeg" as const, data: rgb() };

test("whole files are taken for the result on show, and for no other", () => {
  model.set({ pictures: [saved], current: 2 });
  expect(text(".sdw-download")).toBe("Download JPEG");
  whole(1);
  expect(text(".sdw-download")).toBe("Download JPEG");
  whole(2);
  expect(text(".sdw-download")).toBe("Download PNG");
  model.set({ pictures: [saved], current: 3 });
  expect(text(".sdw-download")).toBe("Download JPEG");
  whole();
  expect(text(".sdw-download")).toBe("Download PNG");
});

test("whole files that overtake the traits of their result wait for them", () => {
  whole(2);
  expect(all(".sdw-results img")).toEqual([]);
  model.set({ pictures: [saved], current: 2 });
  expect(text(".sdw-download")).toBe("Download PNG");
});

test("Stop says at once what will happen", () => {
  begin(1);
  frames(1, 1);
  refresh();
  root.querySelector<HTMLElement>(".sdw-stop")?.click();
  expect(text(".sdw-status")).toBe("Stopping after this step");
  expect(model.sent.at(-1)).toEqual({ kind: "ping" });
  vi.advanceTimersByTime(1100);
  expect(text(".sdw-status")).toBe("Stopping when the cell has ended");
  model.emit("msg:custom", { kind: "pong" }, []);
  expect(text(".sdw-status")).toBe("Stopping after this step");
  model.set({ run: { id: 1, state: "stopped", message: "Stopped after step 1 of 20" } });
  refresh();
  expect(text(".sdw-status")).toBe("Stopped after step 1 of 20");
  begin(2);
  expect(text(".sdw-status")).toBe("Denoising");
});

test("Stop waits for a model that is being loaded", () => {
  model.set({ run: { id: 1, state: "loading", message: "Loading" } });
  root.querySelector<HTMLElement>(".sdw-stop")?.click();
  model.emit("msg:custom", { kind: "pong" }, []);
  vi.advanceTimersByTime(1100);
  expect(text(".sdw-status")).toBe("Stopping once the model is loaded");
});

test("Stop with no run says nothing", () => {
  root.querySelector<HTMLElement>(".sdw-stop")?.click();
  expect(text(".sdw-status")).toBe("");
});

test("what is folded and what is wrong is said to those who cannot see it", async () => {
  const more = root.querySelector(".sdw-more");
  expect(more?.getAttribute("aria-expanded")).toBe("false");
  more?.classList.add("mod-active");
  field.parentElement?.classList.add("sdw-wrong");
  await Promise.resolve();
  expect(more?.getAttribute("aria-expanded")).toBe("true");
  expect(field.getAttribute("aria-invalid")).toBe("true");
  field.parentElement?.classList.remove("sdw-wrong");
  await Promise.resolve();
  expect(field.hasAttribute("aria-invalid")).toBe(false);
});

test("a new picture in the history comes into view, and Tab reaches the one on show", () => {
  const entry = (id: number) => ({ id, prompt: "", seed: 7, title: "", thumbnail: rgb() });
  model.set({ history: [entry(1), entry(2)], current: 1 });
  const stops = () => all(".sdw-thumb").map((thumb) => thumb.tabIndex);
  expect(stops()).toEqual([0, -1]);
  const strip = el.querySelector(".sdw-history") as HTMLElement;
  Object.defineProperty(strip, "scrollWidth", { value: 500 });
  model.set({ history: [entry(1), entry(2), entry(3)], current: 3 });
  expect(stops()).toEqual([-1, -1, 0]);
  expect(strip.scrollLeft).toBe(500);
  all(".sdw-thumb")[1]?.focus();
  model.set({ history: [entry(2), entry(3), entry(4)], current: 4 });
  expect(document.activeElement).toBe(all(".sdw-thumb")[0]);
  expect(stops()).toEqual([0, -1, -1]);
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
  expect(text(".sdw-status")).toBe("The kernel has not answered yet");
  vi.advanceTimersByTime(12_000);
  expect(text(".sdw-status")).toContain("No kernel answers");
  model.emit("msg:custom", { kind: "hello" }, []);
  expect(text(".sdw-status")).toBe("");
  expect(vi.getTimerCount()).toBe(1);
});

test("what the kernel sets is an answer, too", () => {
  model.set({ run: { id: 1, state: "loading", message: "Loading" } });
  vi.advanceTimersByTime(20_000);
  expect(text(".sdw-status")).toBe("Loading");
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
