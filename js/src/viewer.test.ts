import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel, lose } from "../test/model";
import { madeRun, nothingSelected, type Options } from "../test/runs";
import { numbered } from "./lib/shared";
import viewer from "./viewer";

type State = Record<string, unknown>;

/** The traits of a viewer before its first run. */
const idle = (uid: string): State => ({
  ...nothingSelected,
  view: "picture",
  uid,
  header: {},
  pictures: [],
  state: "idle",
  message: "",
  panels: ["attention", "denoising", "tokens"],
  ...Object.fromEntries(numbered("frame").map((name) => [name, new DataView(none)])),
});

const none = new ArrayBuffer(0);
const png = { data: new Uint8Array([1]), type: "image/png" };

let uid = 0;
let model: FakeModel;
const savedSteps = () => model.saved.map(({ step }) => step);
let el: HTMLElement;
let undo: (() => void)[];
let painted: Map<HTMLCanvasElement, { data: Uint8ClampedArray; width: number; height: number }>;

function draw() {
  const root = document.createElement("div");
  document.body.append(root);
  undo.unshift(viewer.render({ model, el: root } as never) as () => void);
  return root;
}

/** The traits of a run's steps, all or the first few. */
function traits(options: Options = {}, count = 64): State {
  const { header, frames } = madeRun(options);
  const kept = frames.slice(0, count);
  return { header, ...Object.fromEntries(kept.map((one, i) => [`frame${i}`, one])) };
}

const done = { state: "done", message: "Done in 1 s", pictures: [png] };
const running = { state: "running", message: "Denoising" };

const find = <T extends HTMLElement>(selector: string, root = el) =>
  root.querySelector(selector) as T;
const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const text = (selector: string) => el.querySelector(selector)?.textContent;
const slider = () => find<HTMLInputElement>(".sdw-v-slider");
const pressed = () => find(".sdw-v-main .sdw-choice [aria-pressed=true]").dataset.value;
const guidance = () => find<HTMLInputElement>(".sdw-v-guidance input[type=range]");
const step = () => Number(el.dataset.step);

function scrub(to: number) {
  slider().value = String(to);
  slider().dispatchEvent(new Event("input"));
}

function weigh(value: number) {
  guidance().value = String(value);
  guidance().dispatchEvent(new Event("input"));
}

function press(key: string, target: HTMLElement = slider(), held: KeyboardEventInit = {}) {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...held });
  target.dispatchEvent(event);
  return event;
}

/** RGB of the first pixels of what was last painted on a canvas. */
function pixels(canvas: HTMLElement, count = 2) {
  const { data } = painted.get(canvas as HTMLCanvasElement) ?? { data: [] };
  return Array.from({ length: count }, (_, i) => [...data.slice(4 * i, 4 * i + 3)]);
}

beforeEach(() => {
  painted = new Map();
  vi.stubGlobal(
    "ImageData",
    class {
      constructor(
        readonly data: Uint8ClampedArray,
        readonly width: number,
        readonly height: number,
      ) {}
    },
  );
  vi.spyOn(HTMLCanvasElement.prototype, "getContext").mockImplementation(function (
    this: HTMLCanvasElement,
  ) {
    const context = new Proxy(
      {
        putImageData: (image: ImageData) => painted.set(this, image),
        clearRect: () => painted.delete(this),
      } as Record<string, unknown>,
      { get: (known, name) => known[String(name)] ?? (() => {}), set: () => true },
    );
    return context as never;
  });
  vi.useFakeTimers();
  vi.stubGlobal("requestAnimationFrame", (show: () => void) => void show());
  undo = [];
  document.body.replaceChildren();
  model = new FakeModel(idle(String(++uid)));
  undo.push(viewer.initialize({ model } as never) as () => void);
  el = draw();
});

afterEach(() => {
  for (const each of undo.splice(0)) each();
  vi.useRealTimers();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

// ------------------------------------------------------------------------------------ the data

test("before the first run everything is in its place, and nothing is on show", () => {
  expect({ ...el.dataset }).toMatchObject({ state: "idle", frames: "0", step: "-1", run: "-1" });
  expect(find(".sdw-v-stage").dataset.show).toBe("nothing");
  expect(all(".sdw-v-thumb")).toHaveLength(5);
  expect(all(".sdw-v-channel")).toHaveLength(4);
  expect(slider().getAttribute("aria-disabled")).toBe("true");
});

test("frames in the traits are counted, and the newest is on show", () => {
  model.change({ ...traits({}, 3), ...running });
  expect({ ...el.dataset }).toMatchObject({ state: "running", frames: "3", step: "2", run: "1" });
  expect(text(".sdw-v-where")).toBe("step 2 (0–3) · σ 5.00 · 0.03 s");
  expect(slider().getAttribute("aria-valuetext")).toBe("step 2 (0–3), noise 5.00");
});

test("a view drawn later shows the same, and what one selects the other shows", () => {
  model.change({ ...traits(), ...done });
  const first = el;
  const second = draw();
  expect({ ...second.dataset }).toEqual({ ...first.dataset });
  scrub(1);
  expect(second.dataset.step).toBe("1");
  expect(find<HTMLInputElement>(".sdw-v-slider", second).value).toBe("1");
});

test("each frame is read once, however often its neighbours come", () => {
  const frames = traits();
  model.change(frames);
  const read = vi.spyOn(TextDecoder.prototype, "decode");
  model.change({ message: "Denoising" });
  expect(read).not.toHaveBeenCalled();
  model.change({ frame3: madeRun().frames[3] });
  expect(read).toHaveBeenCalledOnce();
});

test("a new run forgets the steps of the one before, though the traits still hold them", () => {
  model.change(traits());
  model.change({ header: madeRun({ header: { run: 2 } }).header });
  expect({ ...el.dataset }).toMatchObject({ frames: "0", step: "-1", run: "2" });
  model.change({ frame0: madeRun().frames[0] });
  expect(el.dataset.frames).toBe("1");
});

test("a header that comes again with what the first step told keeps the steps", () => {
  const { header, frames } = madeRun();
  model.change({ header: { ...header, layers: [], recipe: { ...header.recipe, layers: [] } } });
  model.change({ frame0: frames[0] });
  model.change({ header });
  expect(el.dataset.frames).toBe("1");
});

// In the saved state a large run is smaller: here every other step, and the message with all.
const smaller = () => {
  const { frame1: _, frame3: __, header, ...few } = traits();
  return { ...few, header: { ...(header as object), saved: true }, frame1: new DataView(none) };
};
const whole = (run = 1) => {
  const { frames } = madeRun();
  const names = frames.map((__, i) => `frame${i}`);
  model.emit("msg:custom", { kind: "frames", run, names }, frames);
};

test("who saw the steps come keeps them when the saved state gets smaller ones", () => {
  model.change(traits());
  model.change({ ...smaller(), frame3: new DataView(none) });
  expect([el.dataset.frames, model.sent.length]).toEqual(["4", 0]);
});

test("who comes later asks once for all the steps, and shows the smaller ones meanwhile", () => {
  model.change(smaller());
  model.change(done);
  expect(model.sent).toEqual([{ kind: "frames" }]);
  expect(el.dataset.frames).toBe("2");
  whole(9);
  expect(el.dataset.frames).toBe("2");
  whole();
  expect(el.dataset.frames).toBe("4");
});

test("with no kernel to ask, the smaller steps play", () => {
  model.kernel = false;
  model.change(smaller());
  scrub(0);
  expect([el.dataset.frames, step()]).toEqual(["2", 0]);
});

test("messages that are not understood change nothing", () => {
  model.change(smaller());
  for (const message of [null, 5, {}, { kind: "frames" }, { kind: "frames", run: 1, names: 3 }]) {
    model.emit("msg:custom", message, [new DataView(none)]);
  }
  expect(el.dataset.frames).toBe("2");
});

test.each([
  ["no header", { header: { v: 2 } }],
  ["a header of other types", { header: { ...madeRun().header, layers: [{ name: "<b>" }] } }],
  ["a recipe of layers that are not there", { header: { ...madeRun().header, layers: [] } }],
  ["no frame", { frame0: new DataView(new Uint8Array([1, 2, 3, 4, 5]).buffer) }],
  [
    "selections of other types",
    { step: "3", layer: null, view: "everything", opacity: Number.NaN },
  ],
])("%s changes nothing", (_, changes: State) => {
  model.change(changes);
  expect({ ...el.dataset }).toMatchObject({ frames: "0", step: "-1", run: "-1", view: "clean" });
});

test("the panels are those that the kernel asks for, and unknown ones are none", () => {
  model.change({ panels: ["denoising", "constructor"] });
  expect(all(".sdw-denoising")).toHaveLength(1);
  expect(all(".sdw-attention")).toHaveLength(0);
  model.change({ panels: [] });
  expect(all(".sdw-denoising")).toHaveLength(0);
});

test("tokens alone stand without an image, with what is wrong and the other prompts", () => {
  model.change({ panels: ["tokens"], ...traits({ prompts: ["a cat", "one dog"] }) });
  expect(all(".sdw-v-stage")).toHaveLength(0);
  expect(text(".sdw-tokens [data-word=cat] bdi")).toBe("cat");
  find("[aria-label='next image']").click();
  expect(text(".sdw-tokens [data-word=dog] bdi")).toBe("dog");
  model.change({ state: "error", message: "It broke." });
  expect(text("[role=alert]")).toBe("It broke.");
});

// ----------------------------------------------------------------------------------- the steps

test("the slider shows the step it is at, and the nearest of those kept", () => {
  const { frame1: _, ...kept } = traits();
  model.change(kept);
  scrub(2);
  expect(step()).toBe(2);
  scrub(1);
  expect([step(), model.state.step]).toEqual([0, 0]);
});

test("a step that is still to be read can be chosen, and is shown once it is there", () => {
  const { frame0, frame1, ...later } = traits();
  model.change({ ...later, ...done, view: "clean", coming: [0, 1, 2, 3] });
  press("Home");
  expect([model.state.step, slider().value, step()]).toEqual([0, "0", 2]);
  expect(slider().getAttribute("aria-valuetext")).toContain("step 0 is being read");
  model.change({ frame0 });
  expect([slider().value, step()]).toEqual(["0", 0]);
  press("ArrowRight");
  expect([model.state.step, step()]).toEqual([1, 0]);
  model.change({ frame1 });
  expect(step()).toBe(1);
});

test("at its end the slider follows the newest", () => {
  model.change({ ...traits({}, 2), ...running });
  scrub(0);
  scrub(1);
  expect(model.state.step).toBe(-1);
  model.change({ frame2: madeRun().frames[2] });
  expect(step()).toBe(2);
});

test("one who looks back in mid-run stays there", () => {
  model.change({ ...traits({}, 2), ...running });
  scrub(0);
  model.change({ frame2: madeRun().frames[2] });
  expect(step()).toBe(0);
});

test("keys move step by step, to both ends, and no further", () => {
  model.change(traits());
  const seen = ["ArrowLeft", "ArrowDown", "ArrowRight", "ArrowUp", "Home", "ArrowLeft", "End"].map(
    (key) => {
      expect(press(key).defaultPrevented).toBe(true);
      return step();
    },
  );
  expect(seen).toEqual([2, 1, 2, 3, 0, 0, 3]);
});

test("keys skip steps that were not kept", () => {
  const { frame1: _, frame2: __, ...kept } = traits();
  model.change(kept);
  press("ArrowLeft");
  expect(step()).toBe(0);
});

test("keys pressed anywhere in the viewer stay in it, and Shift-Enter does not", () => {
  const notebook = vi.fn();
  document.body.addEventListener("keydown", notebook);
  for (const key of ["d", "b", "ArrowDown", "Enter"]) press(key, find(".sdw-v-thumb"));
  press("x", slider());
  expect(notebook).not.toHaveBeenCalled();
  press("Enter", slider(), { shiftKey: true });
  expect(notebook).toHaveBeenCalledOnce();
  document.body.removeEventListener("keydown", notebook);
});

test("the wheel over the transport moves by steps, and does not scroll the page", () => {
  model.change(traits());
  const roll = (deltaY: number) => {
    const event = new WheelEvent("wheel", { deltaY, bubbles: true, cancelable: true });
    slider().dispatchEvent(event);
    return event.defaultPrevented;
  };
  expect(roll(-100)).toBe(true);
  expect(step()).toBe(2);
  roll(-20);
  expect(step()).toBe(2);
  roll(-20);
  expect(step()).toBe(1);
});

test("dragging sends the kernel few messages, the last among them", () => {
  model.change(traits({ steps: 30 }));
  for (let at = 0; at < 20; at++) scrub(at);
  expect(step()).toBe(19);
  expect(savedSteps()).toEqual([0]);
  vi.advanceTimersByTime(100);
  expect(savedSteps()).toEqual([0, 19]);
  vi.advanceTimersByTime(1000);
  expect(savedSteps()).toEqual([0, 19]);
});

test("an answer to an earlier choice takes back none that waits to be sent", () => {
  model.change(traits({ steps: 30 }));
  scrub(3);
  scrub(4);
  model.change({ step: 3 }); // the kernel's echo of the first
  expect(step()).toBe(4);
  vi.advanceTimersByTime(100);
  expect(savedSteps()).toEqual([3, 4]);
  model.change({ step: 7 }); // and what is set there afterwards counts
  expect(step()).toBe(7);
});

test("without a kernel the steps move all the same", () => {
  model.kernel = false;
  model.change(traits());
  scrub(1);
  expect(step()).toBe(1);
});

test("play goes on from the beginning at the end, and a hand on the slider stops it", () => {
  model.change(traits());
  const button = find(".sdw-v-play");
  expect(button.getAttribute("aria-label")).toBe("play the steps");
  button.click();
  expect([step(), button.getAttribute("aria-label")]).toEqual([0, "pause"]);
  vi.advanceTimersByTime(125);
  expect(step()).toBe(1);
  vi.advanceTimersByTime(250);
  expect(step()).toBe(3);
  vi.advanceTimersByTime(125 * 8);
  expect(step()).toBe(0);
  scrub(2);
  vi.advanceTimersByTime(1000);
  expect([step(), button.getAttribute("aria-label")]).toEqual([2, "play the steps"]);
});

test("the space key plays and pauses, and on the button it is the button's", () => {
  model.change(traits());
  const label = () => find(".sdw-v-play").getAttribute("aria-label");
  press(" ");
  expect(label()).toBe("pause");
  press(" ");
  expect(label()).toBe("play the steps");
  expect(press(" ", find(".sdw-v-play")).defaultPrevented).toBe(false);
});

// --------------------------------------------------------------------------------- the image

test("the image comes at the end, in place of the last step, and goes when one looks back", () => {
  model.change({ ...traits(), ...running });
  expect([el.dataset.view, pressed()]).toEqual(["clean", "clean"]);
  model.change(done);
  expect([el.dataset.view, pressed()]).toEqual(["picture", "picture"]);
  expect(find(".sdw-v-final").getAttribute("src")).toMatch(/^blob:/);
  scrub(1);
  expect(el.dataset.view).toBe("clean");
});

test("who chose the clean latents keeps them at the end", () => {
  model.change({ ...traits(), ...running });
  find("[data-value=clean]").click();
  model.change(done);
  expect([model.state.view, el.dataset.view]).toEqual(["clean", "clean"]);
});

test("the image cannot be chosen before it is there", () => {
  model.change({ ...traits(), ...running });
  const button = find("[data-value=picture]");
  expect(button.getAttribute("aria-disabled")).toBe("true");
  find("[data-value=noisy]").click();
  button.click();
  expect(model.state.view).toBe("noisy");
});

test("to choose the image is to go to the end, with the guidance of the run", () => {
  model.change({ ...traits({ guided: true }), ...done, step: 1, guidance: 9, view: "noisy" });
  find("[data-value=picture]").click();
  expect(model.state).toMatchObject({ view: "picture", step: -1, guidance: null });
  expect(el.dataset.view).toBe("picture");
});

test("noisy latents are drawn through the factors of the header", () => {
  model.change({ ...traits(), view: "noisy", step: 0 });
  const canvas = find(".sdw-v-latents");
  // The made-up values are 0, 0.5, 1, 0, ... over three channels of 16 cells: red 0, green 0.5.
  expect(pixels(canvas)).toEqual([
    [128, 191, 255],
    [191, 255, 128],
  ]);
  expect(canvas.getAttribute("aria-label")).toBe("noisy latents, step 0 (0–3)");
});

test("the change is against the step before, and says how strong it is shown", () => {
  model.change({ ...traits(), view: "change", step: 1 });
  expect(text(".sdw-v-note")).toBe("since step 0");
  // 0.5 up and 1 down again
  expect(pixels(find(".sdw-v-latents"), 1)).toEqual([[191, 0, 191]]);
  scrub(0);
  expect(text(".sdw-v-note")).toBe("the first step: nothing to compare");
  expect(pixels(find(".sdw-v-latents"), 1)).toEqual([[128, 128, 128]]);
});

test("of several images one is on show, with buttons to the others", () => {
  model.change({
    ...traits({ prompts: ["a cat", "a dog"] }),
    ...done,
    pictures: [png, { ...png }],
  });
  const pages = find(".sdw-v-pages");
  expect([pages.hidden, text(".sdw-v-pages span")]).toEqual([false, "1 of 2"]);
  find("[aria-label='previous image']").click();
  expect([model.state.picture, text(".sdw-v-pages span")]).toEqual([1, "2 of 2"]);
  expect(find<HTMLImageElement>(".sdw-v-final").alt).toBe("a dog");
});

test("for one image there is nothing to page", () => {
  model.change(traits());
  expect(find(".sdw-v-pages").hidden).toBe(true);
});

test("pointing at the image tells the panels where, as shares", () => {
  model.change({ ...traits(), ...done });
  const box = find(".sdw-v-picture");
  vi.spyOn(box, "getBoundingClientRect").mockReturnValue(new DOMRect(10, 20, 200, 100));
  const move = (name: string, clientX: number, clientY: number) =>
    box.dispatchEvent(new MouseEvent(name, { clientX, clientY, bubbles: true }));
  move("pointermove", 60, 70);
  const spot = find(".sdw-heat-spot");
  expect([spot.hidden, spot.style.left, spot.style.top]).toEqual([false, "25%", "50%"]);
  move("pointerleave", 0, 0);
  expect(spot.hidden).toBe(true);
});

test("a tap points as a mouse does, and stays until another place has the focus", () => {
  model.change({ ...traits(), ...done });
  const box = find(".sdw-v-picture");
  vi.spyOn(box, "getBoundingClientRect").mockReturnValue(new DOMRect(0, 0, 100, 100));
  const touch = (name: string) =>
    box.dispatchEvent(
      new PointerEvent(name, { clientX: 25, clientY: 50, bubbles: true, pointerType: "touch" }),
    );
  const spot = find(".sdw-heat-spot");
  for (const name of ["pointerdown", "pointerup", "pointerleave"]) touch(name);
  expect([spot.hidden, spot.style.left]).toEqual([false, "25%"]);
  box.dispatchEvent(new FocusEvent("focusout", { bubbles: true }));
  expect(spot.hidden).toBe(true);
  touch("pointerdown");
  touch("pointercancel"); // it scrolls the page
  expect(spot.hidden).toBe(true);
});

test("the final image has its own words, so the canvas below it has none", () => {
  const hidden = () => find(".sdw-v-latents").getAttribute("aria-hidden");
  model.change({ ...traits(), ...done });
  expect([hidden(), find<HTMLImageElement>(".sdw-v-final").alt]).toEqual(["true", "a cat"]);
  scrub(1);
  expect([hidden(), find<HTMLImageElement>(".sdw-v-final").alt]).toEqual(["false", ""]);
});

test("an error is an alert, in words only, and the steps stay", () => {
  model.change({ ...traits(), state: "error", message: "<img src=x onerror=alert(1)> is no size" });
  expect(text(".sdw-v-error")).toBe("<img src=x onerror=alert(1)> is no size");
  expect(all(".sdw-v-error *")).toEqual([]);
  expect(text(".sdw-v-status")).toBe("");
  expect(el.dataset.frames).toBe("4");
  model.change(done);
  expect([text(".sdw-v-error"), text(".sdw-v-status")]).toEqual(["", "Done in 1 s"]);
});

test("a run says how long the steps to come will take", () => {
  model.change({ ...traits({ steps: 34 }, 3), ...running });
  expect(text(".sdw-v-left-time")).toBe("0.93 s left");
  model.change(done);
  expect(text(".sdw-v-left-time")).toBe("");
});

// ---------------------------------------------------------------------------- inside the step

test("guidance is weighed here: the stage and the small image show without + g times difference", () => {
  model.change({ ...traits({ guided: true }), ...done, step: 0 });
  weigh(0.5);
  expect([model.state.guidance, el.dataset.view]).toEqual([0.5, "clean"]);
  // Cell 0 of the made-up halves: without (1, 0, 0.5), difference (0, 0.5, 1) by channel.
  const byHand = [1 + 0.5 * 0, 0 + 0.5 * 0.5, 0.5 + 0.5 * 1].map((value) => (value + 1) * 127.5);
  const expected = [...Uint8ClampedArray.from(byHand)];
  expect(pixels(find(".sdw-v-latents"), 1)).toEqual([expected]);
  expect(pixels(all(".sdw-v-thumb canvas")[1] as HTMLElement, 1)).toEqual([expected]);
  expect(text(".sdw-v-note")).toBe("guidance 0.5 instead of 3.0");
});

test("rescaled guidance cannot be weighed again, and says so", () => {
  const header = { guidance_rescale: 0.7 };
  model.change({ ...traits({ guided: true, header }), ...done, step: 0, guidance: 9 });
  expect(guidance().disabled).toBe(true);
  expect(guidance().value).toBe("3");
  expect(text(".sdw-v-note")).toBe("");
  expect(text(".sdw-v-guidance + .sdw-v-label")).toContain("by 0.7");
});

test("another guidance takes the place of the image, until it is as the run had it", () => {
  model.change({ ...traits({ guided: true }), ...done });
  const reset = find(".sdw-v-guidance .sdw-button");
  expect([guidance().value, reset.getAttribute("aria-disabled")]).toEqual(["3", "true"]);
  weigh(7.5);
  expect(el.dataset.view).toBe("clean");
  reset.click();
  expect([model.state.guidance, el.dataset.view, guidance().value]).toEqual([null, "picture", "3"]);
});

test("guidance typed in stays within its limits, and half a number changes nothing", () => {
  model.change({ ...traits({ guided: true }), ...done });
  const field = find<HTMLInputElement>(".sdw-v-guidance input[type=number]");
  const type = (value: string) => {
    field.value = value;
    field.dispatchEvent(new Event("input"));
  };
  type("400");
  expect(model.state.guidance).toBe(20);
  type("");
  expect(model.state.guidance).toBe(20);
  type("0.5");
  expect(guidance().value).toBe("0.5");
});

test("a run without guidance says so, and has nothing to weigh", () => {
  model.change({ ...traits(), ...done, guidance: 9 });
  expect(guidance().disabled).toBe(true);
  expect(el.dataset.view).toBe("picture");
  expect(text(".sdw-denoising")).toContain("This run had no guidance");
  const off = all(".sdw-v-thumb").map((thumb) => thumb.getAttribute("aria-disabled"));
  expect(off).toEqual(["false", "false", "true", "true", "true"]);
});

test("the channels are those of the latents chosen", () => {
  model.change({ ...traits({ guided: true }), step: 0 });
  expect(all(".sdw-v-channel")).toHaveLength(3);
  expect(text(".sdw-denoising .sdw-v-label")).toBe(
    "Channels of “clean”: blue −1, grey 0, orange 1",
  );
  all(".sdw-v-thumb")[3]?.click();
  expect(all(".sdw-v-thumb").map((one) => one.getAttribute("aria-pressed"))[3]).toBe("true");
  expect(text(".sdw-denoising .sdw-v-label")).toContain("no prompt");
  const firsts = all(".sdw-v-channel canvas").map((canvas) => pixels(canvas, 1)[0]?.[0]);
  expect(firsts).toEqual([255, 128, 191]);
});

test("another word or opacity draws no latents again", () => {
  model.change({ ...traits({ guided: true }), ...done });
  const thumb = find(".sdw-v-thumb canvas");
  const before = painted.get(thumb as HTMLCanvasElement);
  model.change({ word: "cat", opacity: 0.2 });
  expect(painted.get(thumb as HTMLCanvasElement)).toBe(before);
  scrub(0);
  expect(painted.get(thumb as HTMLCanvasElement)).not.toBe(before);
});

test("without a prompt means with the negative one, where there is one", () => {
  const { header, ...frames } = traits({ guided: true });
  const pictures = (header as { pictures: object[] }).pictures.map((one) => {
    return { ...one, negative_prompt: "ugly" };
  });
  model.change({ ...frames, header: { ...(header as object), pictures } });
  expect(all(".sdw-v-thumb")[3]?.textContent).toContain("negative");
});

test.each([
  ["sigma", "7.50", ["10.00", "5.00", "2.50"]],
  ["alpha", "0.02", ["1.00", "0.50", "0.00"]],
  ["snr", "−18 dB", ["−8 dB", "−14 dB", "−20 dB"]],
])(
  "the plot of %s has the step's value, and both ends and the middle of its axes",
  (line, now, ends) => {
    model.change({ ...traits(), step: 1 });
    find(`.sdw-denoising [data-value=${line}]`).click();
    expect(text(".sdw-v-now")).toBe(now);
    expect(all(".sdw-v-axis span").map((end) => end.textContent)).toEqual(ends);
    expect(all(".sdw-v-steps span").map((end) => end.textContent)).toEqual(["0", "step", "3"]);
  },
);

test("the cursor of the plot goes with the step", () => {
  model.change({ ...traits(), step: 0 });
  const x = () => Number(el.querySelector(".sdw-v-cursor")?.getAttribute("x1"));
  const first = x();
  scrub(3);
  expect(x()).toBeGreaterThan(first);
  expect(el.querySelector(".sdw-v-plot")?.getAttribute("aria-label")).toBe("step 3: 2.50");
});

// -------------------------------------------------------------------------------------- the end

test("removed, it listens to nothing, and no clock runs", () => {
  model.change(traits());
  find(".sdw-v-play").click();
  for (const each of undo.splice(0)) each();
  expect(model.listening).toBe(0);
  expect(vi.getTimerCount()).toBe(0);
});

test("what was selected last is saved on leaving", () => {
  model.change(traits());
  scrub(0);
  scrub(2);
  for (const each of undo.splice(0)) each();
  expect(savedSteps().at(-1)).toBe(2);
});

test("a run whose kernel ends in the middle has stopped; one that is over stays as it is", async () => {
  model.change({ ...traits({ steps: 8 }, 3), ...running });
  await lose(model);
  expect([el.dataset.state, el.dataset.frames]).toEqual(["stopped", "3"]);
  expect(find(".sdw-v-status").textContent).toContain("The kernel has ended");
  model.change(done);
  expect([el.dataset.state, find(".sdw-v-status").textContent]).toEqual(["done", "Done in 1 s"]);
});

test("where a branch's own steps begin is marked on the timeline, and told at that step", () => {
  const { header, ...frames } = traits();
  model.change({ header, ...frames, ...done, view: "clean" });
  const notch = () => find(".sdw-v-branched");
  expect(notch().hidden).toBe(true);
  model.change({ header: { ...(header as object), parent: { how: "branch", step: 2 } } });
  expect(notch().hidden).toBe(false);
  expect(Number(notch().style.getPropertyValue("--sdw-at"))).toBeCloseTo(2 / 3);
  scrub(2);
  expect(slider().getAttribute("aria-valuetext")).toContain("branched here");
  expect(find(".sdw-v-note").textContent).toContain("branched here");
  scrub(1);
  expect(slider().getAttribute("aria-valuetext")).not.toContain("branched");
  expect(find(".sdw-v-note").textContent).toBe("");
  model.change({ header: { ...(header as object), parent: { how: "edit", step: 0 } } });
  expect(notch().hidden).toBe(true);
});
