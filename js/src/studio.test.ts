import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel, lose } from "../test/model";
import { madeRun, nothingSelected, type Options } from "../test/runs";
import studio from "./studio";

type State = Record<string, unknown>;

const none = new Uint8Array();
const file = () => new DataView(new Uint8Array([1, 2, 3]).buffer);
const png = () => ({
  data: file(),
  type: "image/png",
  prompt: "a cat",
  seed: 7,
  label: "a result",
});
const jpeg = () => ({ ...png(), type: "image/jpeg" });

let uid = 0;
let model: FakeModel;
let root: HTMLElement;
let el: HTMLElement;
let field: HTMLInputElement;
let refresh: () => void;
let resized: () => void;
let undo: (() => void)[];
let urls: Set<string>;

/** The traits of the first few steps of a run, as the stage is sent them. */
function traits(run: number, count: number, options: Options = {}): State {
  const { header, frames } = madeRun({ steps: 20, ...options });
  const few = frames.slice(0, count).map((one, i) => [`frame${i}`, one]);
  return { header: { ...header, run }, ...Object.fromEntries(few) };
}

const empty = () => Object.fromEntries(Array.from({ length: 64 }, (_, i) => [`frame${i}`, none]));

/** A run as the kernel tells of it: first that it is loading, then its header, then steps. */
function begin(run: number, count = 0, options: Options = {}) {
  model.change({ state: "loading", message: "Loading" });
  model.change({ ...empty(), ...traits(run, 0, options), state: "running", message: "Denoising" });
  if (count > 0) model.change(traits(run, count, options));
}

function finish(run: number, count: number, options: Options = {}) {
  begin(run, count, options);
  model.change({ state: "done", message: "Done", pictures: [png()], current: run });
  refresh();
}

function draw() {
  undo.unshift(studio.render({ model, el } as never) as () => void);
  root.append(el); // hosts attach the element after rendering
  resized();
}

function scrub(to: number) {
  const slider = find<HTMLInputElement>(".sdw-v-slider");
  slider.value = String(to);
  slider.dispatchEvent(new Event("input"));
}

const find = <T extends HTMLElement>(selector: string) => el.querySelector(selector) as T;
const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const text = (selector: string) => el.querySelector(selector)?.textContent;
const numbers = () => all(".sdw-numbers dd").map((value) => value.textContent);
const kinds = () => model.sent.map(({ kind }) => kind);

beforeEach(() => {
  const waiting: (() => void)[] = [];
  const clocks = ["setTimeout", "setInterval", "clearTimeout", "clearInterval"] as const;
  vi.useFakeTimers({ toFake: [...clocks, "performance"] });
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
  vi.stubGlobal("ImageData", class {});
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockImplementation(
    () => new Proxy({}, { get: () => () => {}, set: () => true }) as never,
  );
  urls = countedUrls();
  refresh = () => {
    while (waiting.length > 0) waiting.shift()?.();
  };
  const made = (tag: string, name: string) => {
    const element = document.createElement(tag);
    element.className = name;
    return element;
  };
  root = made("div", "sdw-studio");
  field = document.createElement("input");
  const [row, control] = [made("div", "sdw-row"), made("div", "sdw-width")];
  control.append(field);
  row.append(control);
  root.append(made("button", "sdw-generate"), made("button", "sdw-stop"));
  root.append(made("button", "sdw-more"), row);
  document.body.replaceChildren(root);
  model = new FakeModel({
    ...nothingSelected,
    view: "picture",
    uid: String(++uid),
    header: {},
    pictures: [],
    state: "idle",
    message: "",
    shape: [128, 64],
    current: -1,
    panels: [],
  });
  undo = [studio.initialize({ model } as never) as () => void];
  el = document.createElement("div");
  draw();
});

afterEach(() => {
  for (const each of undo.splice(0)) each();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

// -------------------------------------------------------------------------------------- the run

test("the Studio around the stage carries the state", () => {
  expect(root.dataset.state).toBe("idle");
  begin(1);
  expect(root.dataset.state).toBe("running");
  expect(root.querySelector(".sdw-generate")?.getAttribute("aria-disabled")).toBe("true");
  expect(root.querySelector(".sdw-stop")?.getAttribute("aria-disabled")).toBe("false");
});

test("steps that come together are seen one after another, and counted", () => {
  begin(1, 4);
  expect([el.dataset.frames, numbers()[0]]).toEqual(["1", "0 (0–19)"]);
  refresh();
  expect([el.dataset.frames, numbers()[0]]).toEqual(["4", "3 (0–19)"]);
});

test("the end is shown only after all the steps before it", () => {
  begin(1, 3);
  model.change({ state: "done", message: "Done", pictures: [png()], current: 1 });
  expect(root.dataset.state).toBe("running");
  refresh();
  expect([root.dataset.state, el.dataset.frames, el.dataset.show]).toEqual([
    "done",
    "3",
    "picture",
  ]);
});

test("a new run counts from nothing, and the image stays until its first step", () => {
  finish(1, 3);
  model.change({ state: "loading", message: "Loading" });
  expect([el.dataset.frames, el.dataset.show, numbers()[0]]).toEqual(["0", "picture", "–"]);
  begin(2);
  expect([el.dataset.frames, el.dataset.show]).toEqual(["0", "picture"]);
  model.change(traits(2, 1));
  expect([el.dataset.frames, el.dataset.show]).toEqual(["1", "preview"]);
});

test("a page that comes in the middle shows all steps so far at once", () => {
  for (const each of undo.splice(0)) each();
  Object.assign(model.state, traits(3, 9), { state: "running", message: "Denoising" });
  undo = [studio.initialize({ model } as never) as () => void];
  draw();
  expect([el.dataset.frames, numbers()[0], el.dataset.show]).toEqual(["9", "8 (0–19)", "preview"]);
});

test("the run says how long a step takes and how long the steps to come will", () => {
  begin(1, 4);
  refresh();
  expect(numbers()).toEqual(["3 (0–19)", "8.50", "0.03 s", "0.48 s"]);
  vi.advanceTimersByTime(500);
  expect(numbers()[3]).toBe("0.00 s"); // it goes on while no step comes
  model.change({ state: "stopped", message: "Stopped" });
  expect(numbers()[3]).toBe("–");
});

test("an error is an alert, in words only, and the image before it stays", () => {
  finish(1, 20);
  const message = "<img src=x onerror=alert(1)> is no size";
  model.change({ state: "error", message });
  expect([text(".sdw-error"), text(".sdw-status")]).toEqual([message, ""]);
  expect(all(".sdw-error *")).toEqual([]);
  expect(el.dataset.show).toBe("picture");
  begin(2);
  expect(text(".sdw-error")).toBe("");
});

test("a run that fails half-way gives the stage back to the image before", () => {
  finish(1, 3);
  begin(2, 2);
  refresh();
  model.change({ ...empty(), state: "error", message: "No memory" });
  expect(el.dataset.show).toBe("picture");
  expect(find(".sdw-v-slider").getAttribute("aria-disabled")).toBe("true");
});

test.each(["stopped", "done"])(
  "a run that is %s without an image leaves its last step",
  (state) => {
    begin(1, 2);
    model.change({ state, message: "Over" });
    refresh();
    expect([root.dataset.state, el.dataset.show, el.dataset.frames]).toEqual([
      state,
      "preview",
      "2",
    ]);
  },
);

test("after a run the slider goes back through its steps, and ends in the image", () => {
  finish(1, 3);
  scrub(1);
  expect([numbers()[0], text(".sdw-v-where")]).toEqual(["1 (0–19)", "step 1 (0–19)"]);
  expect(find(".sdw-v-slider").getAttribute("aria-valuetext")).toBe("step 1 (0–19), noise 9.50");
  expect(el.dataset.show).toBe("preview");
  scrub(2);
  expect(el.dataset.show).toBe("picture");
});

test("also after a setting was refused the end of the slider is the image", () => {
  finish(1, 3);
  model.change({ state: "error", message: "33 is no size" });
  scrub(0);
  expect(el.dataset.show).toBe("preview");
  scrub(2);
  expect(el.dataset.show).toBe("picture");
});

test("a run whose image never came does not end in the image of another", () => {
  finish(1, 20);
  begin(2, 2);
  model.change({ state: "stopped", message: "Stopped" });
  refresh();
  scrub(0);
  scrub(1);
  expect(el.dataset.show).toBe("preview");
});

test("the slider keeps the focus through a run", () => {
  finish(1, 3);
  const slider = find<HTMLInputElement>(".sdw-v-slider");
  slider.focus();
  begin(2, 2);
  refresh();
  expect(document.activeElement).toBe(slider);
});

// ------------------------------------------------------------------------------------ what it is

test("every image of a batch is on the stage, in a grid", () => {
  begin(1, 2, { prompts: ["a cat", "a dog", "a fox"] });
  refresh();
  const canvas = find<HTMLCanvasElement>(".sdw-v-latents");
  expect([canvas.width, canvas.height]).toEqual([8, 8]); // two by two of four cells each
  model.change({ state: "done", pictures: [png(), png(), png()], current: 1 });
  expect(all(".sdw-v-final")).toHaveLength(3);
  expect(find(".sdw-v-finals").style.getPropertyValue("--sdw-columns")).toBe("2");
});

test("the stage has the shape of the image before there is one", () => {
  expect(find(".sdw-v-picture").style.getPropertyValue("--sdw-shape")).toBe("128 / 64");
  model.change({ shape: [64, 128] });
  expect(find(".sdw-v-picture").style.getPropertyValue("--sdw-shape")).toBe("64 / 128");
});

const whole = (id: number) => {
  const { data, ...words } = png();
  model.emit("msg:custom", { kind: "pictures", id, pictures: [words] }, [data]);
};

test("whole files are taken for the result on show, and for no other", () => {
  model.change({ pictures: [jpeg()], current: 2 });
  expect(text(".sdw-download")).toBe("Download JPEG");
  whole(1);
  expect(text(".sdw-download")).toBe("Download JPEG");
  whole(2);
  expect(text(".sdw-download")).toBe("Download PNG");
  model.change({ pictures: [jpeg()], current: 3 });
  expect(text(".sdw-download")).toBe("Download JPEG");
});

test("whole files that overtake the traits of their result wait for them", () => {
  whole(2);
  expect(all(".sdw-v-final")).toEqual([]);
  model.change({ pictures: [jpeg()], current: 2 });
  expect(text(".sdw-download")).toBe("Download PNG");
});

test("every image is saved as a file that says what it is", () => {
  const saved: string[] = [];
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (
    this: HTMLAnchorElement,
  ) {
    saved.push(this.download);
  });
  model.change({ pictures: [png(), { ...png(), seed: 8 }], current: 1 });
  find(".sdw-download").click();
  expect(saved).toEqual(["a-cat-seed-7.png", "a-cat-seed-8.png"]);
});

test("only what is on show is downloaded", () => {
  const saved: string[] = [];
  vi.spyOn(HTMLAnchorElement.prototype, "click").mockImplementation(function (
    this: HTMLAnchorElement,
  ) {
    saved.push(this.download);
  });
  const button = find(".sdw-download");
  const seeds = [png(), { ...png(), seed: 8 }];
  begin(1, 3, { prompts: ["a cat", "a cat"] });
  model.change({ state: "done", message: "Done", pictures: seeds, current: 1 });
  refresh();
  model.change({ panels: ["denoising"], picture: 1 });
  button.click();
  expect(saved.splice(0)).toEqual(["a-cat-seed-8.png"]); // a single image is on show
  model.change({ panels: [] });

  begin(2, 2); // the images of the run before are no longer on show
  model.change({ state: "stopped", message: "Stopped" });
  refresh();
  button.click();
  expect([button.getAttribute("aria-disabled"), button.title, saved]).toEqual([
    "true",
    "The run on show has no image",
    [],
  ]);
  model.change({ ...empty(), state: "error", message: "No memory" }); // they are again
  button.click();
  expect(saved).toEqual(["a-cat-seed-7.png", "a-cat-seed-8.png"]);
});

// -------------------------------------------------------------------------------- seen inside

test("opened, it has the panels of a viewer, and the stage is as it was", () => {
  finish(1, 3);
  const [stage, slider] = [find(".sdw-v-stage"), find(".sdw-v-slider")];
  expect(all(".sdw-pair")).toHaveLength(1);
  model.change({ panels: ["denoising", "attention", "tokens"] });
  expect([find(".sdw-v-stage"), find(".sdw-v-slider")]).toEqual([stage, slider]);
  expect(all(".sdw-denoising, .sdw-attention, .sdw-tokens")).toHaveLength(3);
  expect(all(".sdw-pair")).toHaveLength(0);
  expect(el.dataset.panels).toBe("denoising attention tokens");
  model.change({ panels: [] });
  expect(all(".sdw-denoising, .sdw-attention, .sdw-tokens, .sdw-heat")).toHaveLength(0);
  expect(all(".sdw-pair")).toHaveLength(1);
});

/** A step in two frames: what the stage needs, and what the panels need beside it. */
function apart(i: number) {
  const run = madeRun({ steps: 20, guided: true });
  const split = (parts: string[]) => {
    const bytes = run.frames[i] as Uint8Array;
    const length = new DataView(bytes.buffer).getUint32(0, true);
    const meta = JSON.parse(new TextDecoder().decode(bytes.subarray(4, 4 + length)));
    const latents = meta.size.reduce((product: number, side: number) => product * side, 1) * 2;
    const starts = new Map<string, [number, number]>();
    let at = 4 + length;
    for (const part of meta.parts) {
      const size = part === "attention" ? bytes.length - at : latents;
      starts.set(part, [at, size]);
      at += size;
    }
    const own = meta.parts.filter((part: string) => parts.includes(part));
    const less = own.includes("attention") ? {} : { grids: [], tokens: 0 };
    let json = JSON.stringify({ ...meta, parts: own, ...less });
    json += " ".repeat((4 - (json.length % 4)) % 4);
    const out = [...new TextEncoder().encode(json)];
    const start = [...new Uint8Array(Uint32Array.of(out.length).buffer)];
    for (const part of own) {
      const [from, size] = starts.get(part) as [number, number];
      out.push(...bytes.subarray(from, from + size));
    }
    return Uint8Array.from([...start, ...out]);
  };
  return {
    header: run.header,
    frame: split(["x", "denoised"]),
    more: split(["uncond", "difference", "attention"]),
  };
}

test("what the panels need of a step comes by itself, and is joined to it", () => {
  const { header, frame, more } = apart(0);
  model.change({ header, frame0: frame, state: "running", message: "Denoising" });
  model.change({ panels: ["denoising", "attention"] });
  const thumbs = () => all(".sdw-v-thumb").map((one) => one.getAttribute("aria-disabled"));
  expect(thumbs()).toEqual(["false", "false", "true", "true", "true"]);
  model.change({ more0: more });
  expect(thumbs()).toEqual(["false", "false", "false", "false", "false"]);
  expect(el.dataset.frames).toBe("1");
  model.change({ word: "cat" });
  expect(find(".sdw-heat").dataset.word).toBe("cat");
});

test("what belongs to another step is not joined", () => {
  model.change({ panels: ["denoising"] });
  model.change({ ...traits(1, 0), frame0: apart(0).frame, more0: apart(1).more });
  expect(all(".sdw-v-thumb")[3]?.getAttribute("aria-disabled")).toBe("true");
});

test("parts that come late are taken although the saved state holds smaller ones", () => {
  const { header, frame, more } = apart(0);
  model.change({ header, frame0: frame, panels: ["denoising"] });
  model.change({ header: { ...header, saved: true }, frame0: apart(1).frame });
  model.change({ more0: more });
  expect([el.dataset.step, all(".sdw-v-thumb")[3]?.getAttribute("aria-disabled")]).toEqual([
    "0",
    "false",
  ]);
});

// ---------------------------------------------------------------------------- Stop, and silence

test("Stop says at once what will happen", () => {
  begin(1, 1);
  root.querySelector<HTMLElement>(".sdw-stop")?.click();
  expect(text(".sdw-status")).toBe("Stopping after this step");
  expect(model.sent.at(-1)).toEqual({ kind: "ping" });
  vi.advanceTimersByTime(1100);
  expect(text(".sdw-status")).toBe("Stopping once the cell has finished");
  model.emit("msg:custom", { kind: "pong" }, []);
  expect(text(".sdw-status")).toBe("Stopping after this step");
  model.change({ state: "stopped", message: "Stopped after step 1 of 20" });
  expect(text(".sdw-status")).toBe("Stopped after step 1 of 20");
  begin(2);
  expect(text(".sdw-status")).toBe("Denoising");
});

test("Stop waits for a model that is being loaded", () => {
  model.change({ state: "loading", message: "Loading" });
  root.querySelector<HTMLElement>(".sdw-stop")?.click();
  model.emit("msg:custom", { kind: "pong" }, []);
  vi.advanceTimersByTime(1100);
  expect(text(".sdw-status")).toBe("Stopping once the model is loaded");
});

test("Stop with no run says nothing", () => {
  root.querySelector<HTMLElement>(".sdw-stop")?.click();
  expect([text(".sdw-status"), kinds()]).toEqual(["", ["hello"]]);
});

test("without an answer from the kernel it says so, and no longer once one comes", () => {
  expect(model.sent).toEqual([{ kind: "hello" }]);
  vi.advanceTimersByTime(3100);
  expect([text(".sdw-status"), el.dataset.kernel]).toEqual([
    "The kernel has not answered yet",
    "silent",
  ]);
  vi.advanceTimersByTime(12_000);
  expect(text(".sdw-status")).toContain("No kernel answers");
  model.emit("msg:custom", { kind: "hello" }, []);
  expect([text(".sdw-status"), el.dataset.kernel]).toEqual(["", "here"]);
});

test("a kernel that ends in the middle of a run is said, and the newest step stays", async () => {
  begin(1, 3);
  refresh();
  refresh();
  await lose(model);
  vi.advanceTimersByTime(20_000);
  expect(text(".sdw-status")).toBe("The kernel has ended: run the cell again.");
  expect([root.dataset.state, el.dataset.state, el.dataset.kernel]).toEqual([
    "stopped",
    "stopped",
    "silent",
  ]);
  expect(el.dataset.frames).toBe("3");
  expect(find<HTMLProgressElement>("progress").hasAttribute("value")).toBe(true);
  for (const name of ["generate", "stop"]) {
    const button = root.querySelector(`.sdw-${name}`);
    expect(button?.getAttribute("aria-disabled")).toBe("true");
  }
  await lose(model, false);
  expect([root.dataset.state, text(".sdw-status")]).toEqual(["running", "Denoising"]);
  expect(kinds()).toEqual(["hello", "hello"]);
});

test("what the kernel sets is an answer, too", () => {
  model.change({ state: "loading", message: "Loading" });
  vi.advanceTimersByTime(20_000);
  expect([text(".sdw-status"), el.dataset.kernel]).toEqual(["Loading", "here"]);
});

// --------------------------------------------------------------------------------- controls

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
  expect(field.getAttribute("aria-invalid")).toBe("false");
});

test("the slider and the colour of the guide have the names that are beside them", async () => {
  const guide = document.createElement("div");
  guide.className = "sdw-row sdw-guide";
  guide.innerHTML =
    '<div><label class="widget-label">how much</label><div><i role="slider"></i></div></div>' +
    '<div><label class="widget-label">colour</label><input type="color"></div><div></div>';
  root.append(guide);
  root.classList.toggle("sdw-inside");
  await Promise.resolve();
  const names = [...guide.querySelectorAll("[aria-label]")].map((one) =>
    one.getAttribute("aria-label"),
  );
  expect(names).toEqual(["how much", "colour"]);
});

test("Ctrl-Enter anywhere in the Studio generates", () => {
  const init = { key: "Enter", ctrlKey: true, bubbles: true };
  root.querySelector(".sdw-stop")?.dispatchEvent(new KeyboardEvent("keydown", init));
  expect(kinds().filter((kind) => kind === "generate")).toHaveLength(1);
});

// -------------------------------------------------------------------------------------- the end

test("messages that are not understood change nothing", () => {
  model.emit("msg:custom", null, []); // an answer of some kind
  const before = el.innerHTML;
  const pictures = { kind: "pictures", id: -1 };
  for (const message of [5, "x", {}, { kind: "frames" }, pictures, { ...pictures, pictures: 3 }]) {
    model.emit("msg:custom", message, []);
  }
  expect(el.innerHTML).toBe(before);
});

test("removed, it listens to nothing, and no clock runs", () => {
  finish(1, 3);
  model.change({ panels: ["attention", "denoising", "tokens"] });
  expect(model.listening).toBeGreaterThan(0);
  for (const each of undo.splice(0)) each();
  expect([model.listening, vi.getTimerCount(), urls.size]).toEqual([0, 0, 0]);
});
