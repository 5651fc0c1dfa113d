import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls } from "../../test/model";
import { between, frameAt } from "./between";
import { latents } from "./latents";
import { noise } from "./noise";
import { kindOf, play } from "./play";
import { type Setting, standing } from "./slider";
import type {
  Data,
  Edited,
  EditJson,
  Here,
  LabView,
  Latents,
  MakePart,
  Selection,
  What,
} from "./view";

/** A view that hears what a panel asks for. */
class FakeView implements LabView {
  sent: Record<string, unknown>[] = [];
  opened: { file: File; second: boolean | undefined }[] = [];
  here: Here = { cell: undefined, pixel: undefined };
  data: Data = {
    ...{ catalogue: [], samples: [], state: "idle", message: "", can_send: false },
    ...{ picture: undefined, second: undefined, results: [], latents: undefined },
    ...{ edited: undefined, touch: undefined, between: undefined, noise: undefined },
  };
  readonly selection: Selection = {
    ...{ chosen: ["A"], active: "A", panel: "play", side: 128, view: "rebuilt" },
  };

  select = () => {};
  point = (here: Partial<Here>) => {
    this.here = { ...this.here, ...here };
    tell("here");
  };
  send = (message: Record<string, unknown>) => void this.sent.push(message);
  open = (file: File, second?: boolean) => void this.opened.push({ file, second });
  onChange = () => () => {};
  get edits() {
    return this.sent.map(({ edit }) => edit as EditJson);
  }
}

let view: FakeView;
let part: ReturnType<MakePart>;

const all = (selector: string) => [...part.element.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => part.element.querySelector(selector) as HTMLElement;
const named = (label: string) => one(`[aria-label="${label}"]`) as HTMLInputElement;
const titled = (words: string) =>
  all("button").find((each) => each.textContent === words) as HTMLButtonElement;
const tell = (...what: What[]) => part.update(new Set(what));
const press = (element: HTMLElement, key: string, more: object = {}) =>
  element.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }),
  );
const able = (element: HTMLElement) => element.getAttribute("aria-disabled") !== "true";
/** Float16 zeros, [C, h, w]. */
const zeros = (...size: number[]) => new Uint8Array(2 * size.reduce((a, b) => a * b, 1));
const png = (mark = 0) => new Uint8Array([0x89, mark]);

function make(of: MakePart, data: Partial<Data> = {}) {
  Object.assign(view.data, data);
  part = of(view);
  document.body.replaceChildren(part.element);
  tell(...(Object.keys(view.data) as What[]), "here");
}
function change(data: Partial<Data>) {
  Object.assign(view.data, data);
  tell(...(Object.keys(data) as What[]));
}

beforeEach(() => {
  vi.useFakeTimers();
  countedUrls();
  view = new FakeView();
});

afterEach(() => {
  part?.remove?.();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

// ------------------------------------------------------------------------------------------ play

const edited = (more: Partial<Edited> = {}): Edited => ({
  ...{ name: "A", data: png(), channels: 2, width: 4, height: 4, latents: zeros(2, 4, 4) },
  ...{ psnr: 20, edits: [], applied: [], undone: 0, undoable: 0, directions: [{ share: 0.43 }] },
  ...more,
});

/** Moves of a pointer over a canvas of 4 by 4 cells, each 10 pixels wide. */
function stroke(...places: [number, number][]) {
  const canvas = one(".sdw-lab-paint");
  canvas.getBoundingClientRect = () => new DOMRect(0, 0, 40, 40);
  canvas.setPointerCapture = () => {};
  const at = (name: string, [x, y]: [number, number]) => {
    const place = { clientX: 10 * x + 5, clientY: 10 * y + 5, button: 0, pointerId: 1 };
    canvas.dispatchEvent(new PointerEvent(name, { ...place, bubbles: true, cancelable: true }));
  };
  const [first, ...rest] = places;
  if (first) at("pointerdown", first);
  for (const place of rest) at("pointermove", place);
  at("pointerup", places.at(-1) ?? [0, 0]);
}

test("a stroke is told while it goes on, and whole at its end, with no gaps", () => {
  make(play, { edited: edited() });
  stroke([0, 1], [3, 1]);
  const brush = { type: "paint", channel: -1, value: 3, mode: "set" };
  const cells = [0, 1, 2, 3].map((x) => [x, 1]);
  expect(view.edits).toEqual([
    { ...brush, cells: [[0, 1]], live: true },
    { ...brush, cells },
  ]);
});

test("painting takes the focus, so that Ctrl-Z is heard", () => {
  make(play, { edited: edited() });
  stroke([0, 0]);
  expect(part.element.contains(document.activeElement)).toBe(true);
  press(document.activeElement as HTMLElement, "z", { ctrlKey: true });
  press(document.activeElement as HTMLElement, "Z", { ctrlKey: true, shiftKey: true });
  expect(view.sent.slice(-2)).toEqual([{ kind: "undo" }, { kind: "redo" }]);
});

test("keys paint: arrows move, Space takes the brush to the cell", () => {
  make(play, { edited: edited() });
  const easel = one(".sdw-lab-easel");
  press(easel, " ");
  expect(view.sent).toEqual([]); // no cell yet
  press(easel, "ArrowLeft");
  press(easel, " ");
  expect(view.edits.at(-1)).toMatchObject({ type: "paint", cells: [[1, 2]] });
  expect(view.edits.at(-1)).not.toHaveProperty("live");
});

test("a cell that other latents have not is pointed at no more", () => {
  make(play, { edited: edited() });
  named("Channel to paint on").value = "1";
  named("Channel to paint on").dispatchEvent(new Event("change"));
  press(one(".sdw-lab-easel"), "ArrowDown");
  expect(one(".sdw-lab-easel .sdw-lab-spot").hidden).toBe(false);
  change({ edited: edited({ width: 2, height: 2, latents: zeros(2, 2, 2) }) });
  expect(one(".sdw-lab-easel .sdw-lab-spot").hidden).toBe(true);
  press(one(".sdw-lab-easel"), "ArrowDown");
  press(one(".sdw-lab-easel"), " ");
  expect(view.edits.at(-1)?.cells).toEqual([[1, 1]]);
});

test("the brush has a channel, a value and a way to paint", () => {
  make(play, { edited: edited() });
  named("Channel to paint on").value = "1";
  named("Channel to paint on").dispatchEvent(new Event("change"));
  named("Value of the brush").value = "-2";
  named("Value of the brush").dispatchEvent(new Event("input"));
  one("[data-value=add]").click();
  stroke([2, 2]);
  expect(view.edits.at(-1)).toMatchObject({ channel: 1, value: -2, mode: "add" });
});

test("a slider is told at intervals, the newest wins, and the last one is no live one", () => {
  make(play, { edited: edited() });
  const slider = named("Standard deviation of the added noise");
  for (const value of ["1", "1.5", "2"]) {
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  }
  vi.advanceTimersByTime(1000);
  slider.dispatchEvent(new Event("change"));
  expect(view.edits).toEqual([
    { type: "noise", sigma: 1, live: true },
    { type: "noise", sigma: 2, live: true },
    { type: "noise", sigma: 2 },
  ]);
});

test("what waits is not sent after the last one", () => {
  make(play, { edited: edited() });
  const slider = named("Factor of channel 1");
  for (const kind of ["input", "input", "change"]) slider.dispatchEvent(new Event(kind));
  vi.advanceTimersByTime(1000);
  expect(view.edits.map(({ live }) => live === true)).toEqual([true, false]);
});

test("sliders and knock-outs follow the kernel, also after an undo", () => {
  const applied: EditJson[] = [
    { type: "scale", channel: 1, factor: 2 },
    { type: "walk", direction: 0, amount: -1 },
    { type: "knock", channel: 0 },
  ];
  make(play, { edited: edited({ applied }) });
  const state = () => [
    named("Factor of channel 0").value,
    named("Factor of channel 1").value,
    named("Walk along principal direction 1, 43 % of the variance").value,
    ...all(".sdw-lab-control button").map((each) => each.getAttribute("aria-pressed")),
  ];
  expect(state()).toEqual(["1", "2", "-1", "true", "false"]);
  change({ edited: edited() });
  expect(state()).toEqual(["1", "1", "0", "false", "false"]);
});

test("a slider stands where its own edit says", () => {
  const scale: Setting = { edit: { type: "scale", channel: -1 }, field: "factor", neutral: 1 };
  expect(standing([{ type: "scale", channel: 0, factor: 3 }], scale)).toBe(1);
  expect(standing([{ type: "scale", channel: -1, factor: 3 }], scale)).toBe(3);
  expect(standing([{ type: "scale", channel: -1, factor: "x" }], scale)).toBe(1);
});

test("buttons shift, flip and knock out", () => {
  make(play, { edited: edited() });
  for (const words of ["←", "↓", "Flip ↔"]) titled(words).click();
  one(".sdw-lab-control button").click();
  expect(view.edits).toEqual([
    { type: "shift", dx: -1, dy: 0 },
    { type: "shift", dx: 0, dy: 1 },
    { type: "flip", axis: "x" },
    { type: "knock", channel: 0 },
  ]);
});

test("steps can be taken back and made again only where there are some", () => {
  make(play);
  const buttons = ["Undo", "Redo", "Reset", "Save"].map(titled);
  expect(buttons.map(able)).toEqual([false, false, false, false]);
  change({ edited: edited({ undoable: 1, undone: 1, edits: ["flipped"] }) });
  expect(buttons.map(able)).toEqual([true, true, true, true]);
  expect(all(".sdw-lab-edits li").map((li) => li.textContent)).toEqual(["flipped"]);
  for (const each of buttons.slice(0, 3)) each.click();
  expect(view.sent).toEqual([{ kind: "undo" }, { kind: "redo" }, { kind: "reset" }]);
});

test("an image is a start only where there is a Studio, and the reason is said", () => {
  make(play, { edited: edited() });
  titled("Use as a start…").click();
  expect(view.sent).toEqual([]);
  expect(titled("Use as a start…").title).toContain("no Studio");
  change({ can_send: true });
  titled("Use as a start…").click();
  expect(view.sent).toEqual([{ kind: "send" }]);
});

test("a file is saved as what it is", () => {
  expect(kindOf(png())).toBe("png");
  expect(kindOf(new Uint8Array([0xff, 0xd8]))).toBe("jpeg");
});

// --------------------------------------------------------------------------------------- latents

const CODES = {
  ...{ count: 1024, used: 3, perplexity: 2.4 },
  ...{ indices: zeros(4, 4), colours: new Uint8Array(48) },
};
const found = (more: Partial<Latents> = {}): Latents => ({
  ...{ name: "A", channels: 2, width: 4, height: 4, mean: zeros(2, 4, 4), std: zeros(2, 4, 4) },
  ...{ sample: zeros(2, 4, 4), sample_data: png(), codes: null },
  stats: [0, 1].map((c) => ({ mean: c - 0.5, std: 1, min: -2, max: 2 })),
  ...more,
});
const captions = () => all(".sdw-lab-tile figcaption").map((each) => each.textContent);
const seen = (selector: string) => all(selector).map((each) => !each.hidden);

test("each channel has an image, a histogram and its numbers", () => {
  make(latents, { latents: found() });
  expect(captions()).toEqual(["−0.500 ± 1.00\n−2.00 to 2.00", "0.500 ± 1.00\n−2.00 to 2.00"]);
  expect(all(".sdw-lab-tile canvas.sdw-lab-channel")).toHaveLength(2);
  expect(all(".sdw-lab-histogram path").every((each) => each.getAttribute("d"))).toBe(true);
});

test("mean, deviation and sample are chosen among, each with its own numbers", () => {
  make(latents, { latents: found() });
  one("[data-value=std]").click();
  expect(captions()[0]).toBe("0.00 ± 0.00\n0.00 to 0.00");
  expect(one("[data-value=std]").getAttribute("aria-pressed")).toBe("true");
});

test("statistics that are no numbers are dashes", () => {
  const none = { mean: null, std: null, min: null, max: null };
  make(latents, { latents: found({ stats: [none, none] }) });
  expect(captions()[0]).toBe("– ± –\n– to –");
});

test("of codes nothing is unsure; their use is told", () => {
  make(latents, { latents: found() });
  one("[data-value=std]").click();
  change({ latents: found({ std: null, codes: CODES }) });
  expect(one("[data-value=mean]").getAttribute("aria-pressed")).toBe("true");
  expect(["std", "sample"].map((kind) => able(one(`[data-value=${kind}]`)))).toEqual([
    false,
    false,
  ]);
  expect(part.element.textContent).toContain("3 of 1024 used, perplexity 2");
});

test("a cell that is pointed at is outlined in all channels, by keys too", () => {
  make(latents, { latents: found() });
  press(one(".sdw-lab-grid[tabindex='0']"), "ArrowRight");
  expect(view.here.cell).toEqual({ x: 3, y: 2 });
  expect(seen(".sdw-lab-tile .sdw-lab-spot")).toEqual([true, true]);
  expect(one(".sdw-lab-tile .sdw-lab-spot").style.left).toBe("75%");
  view.point({ cell: undefined });
  expect(seen(".sdw-lab-tile .sdw-lab-spot")).toEqual([false, false]);
});

test("what a pixel touches is drawn on the cells, while that pixel is pointed at", () => {
  make(latents, { latents: found() });
  view.point({ pixel: { x: 9, y: 3 } });
  const touch = { of: "pixel" as const, x: 9, y: 3, width: 4, height: 4, share: 1 };
  change({ touch: { ...touch, data: new Uint8Array(16) } });
  expect(seen(".sdw-lab-tile .sdw-lab-heat")).toEqual([true, true]);
  view.point({ pixel: { x: 10, y: 3 } });
  expect(seen(".sdw-lab-tile .sdw-lab-heat")).toEqual([false, false]);
});

test("latents whose bytes are not of their size are not drawn", () => {
  make(latents, { latents: found({ mean: zeros(3) }) });
  expect(part.element.textContent).toContain("The latents appear here.");
  expect(all(".sdw-lab-tile")).toHaveLength(0);
});

// --------------------------------------------------------------------------------------- between

const picture = (name: string) => ({ name, width: 8, height: 8, data: png(), notices: [] });
const ways = () => {
  const frames = (from: number) => Array.from({ length: 11 }, (_, i) => png(from + i));
  return { name: "A", steps: 11, width: 8, height: 8, latent: frames(0), pixel: frames(20) };
};
const range = () => one("input[type=range]") as HTMLInputElement;
const slide = (value: string) => {
  range().value = value;
  range().dispatchEvent(new Event("input"));
};
/** The bytes that were made into pictures since the last time. */
const shown = () => {
  const calls = vi.mocked(URL.createObjectURL).mock.calls.splice(0);
  return Promise.all(
    calls.map(async ([blob]) => [...new Uint8Array(await (blob as Blob).arrayBuffer())][1]),
  );
};

test("frames are those nearest to the slider", () => {
  expect([0, 0.04, 0.06, 0.5, 1, 2].map((share) => frameAt(share, 11))).toEqual([
    0, 0, 1, 5, 10, 10,
  ]);
});

test("one slider moves both ways", async () => {
  make(between, { picture: picture("a"), second: picture("b"), between: ways() });
  await shown();
  slide("100");
  expect(await shown()).toEqual([10, 30]);
  slide("10");
  expect(await shown()).toEqual([1, 21]);
});

test("the second image is asked for, by its name or as a file, and swapped", () => {
  const samples = [{ name: "b", caption: "a bee", data: png() }];
  make(between, { samples, picture: picture("a") });
  expect(able(titled("Swap"))).toBe(false);
  one(".sdw-lab-sample").click();
  change({ second: picture("b") });
  expect(one(".sdw-lab-sample").getAttribute("aria-checked")).toBe("true");
  titled("Swap").click();
  expect(view.sent).toEqual([{ kind: "sample", name: "b", second: true }, { kind: "swap" }]);
  const file = new File(["x"], "c.png");
  Object.defineProperty(one("input[type=file]"), "files", { value: [file] });
  one("input[type=file]").dispatchEvent(new Event("change"));
  expect(view.opened).toEqual([{ file, second: true }]);
});

test("what is missing for the way is said", () => {
  make(between, { picture: picture("a") });
  expect(part.element.textContent).toContain("Choose a second image.");
  expect(range().disabled).toBe(true);
  change({ second: picture("b") });
  expect(part.element.textContent).toContain("being computed");
  change({ between: ways() });
  expect(range().disabled).toBe(false);
});

// ----------------------------------------------------------------------------------------- noise

const levels = (count: number) => ({
  ...{ model: "emoji", prompt: "", width: 2, height: 2 },
  steps: Array.from({ length: count }, (_, i) => ({
    ...{ t: 50 * i, sigma: i, snr_db: 20 - 2 * i, latents: new Uint8Array(12) },
    ...{ noisy: png(i), guess: png(100 + i) },
  })),
});

test("a slider goes through the noise levels", () => {
  make(noise, { noise: levels(21) });
  slide("0");
  expect(one("output").textContent).toContain("t = 0, σ = 0.00: 100 times more image than noise");
  slide("20");
  expect(one("output").textContent).toContain("t = 1000, σ = 20.00");
  expect(one("output").textContent).toContain("(−20 dB)");
  expect(one("circle").getAttribute("visibility")).toBe("visible");
});

test("the slider stays where it is while levels come", async () => {
  make(noise, { noise: undefined });
  expect(range().disabled).toBe(true);
  slide("12");
  change({ noise: levels(5) });
  expect(await shown()).toEqual([4, 104]); // the last so far
  change({ noise: levels(21) });
  expect([range().value, range().max]).toEqual(["12", "20"]);
  expect(await shown()).toEqual([12, 112]);
});
