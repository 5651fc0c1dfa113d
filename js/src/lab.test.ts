import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel, lose } from "../test/model";
import lab from "./lab";
import { pressed } from "./lab/chips";
import { best, errorPixels, heatPixels, spot } from "./lab/comparison";
import { type Store, stores } from "./lab/store";
import { read } from "./lab/traits";
import type { Result } from "./lab/view";
import { partsOf, refusal } from "./lib/files";

const PIXELS = 4;

const entry = (name: string, factor = 2) => {
  const rest = { channels: 4, codes: 0, bits: 16, ratio: 3 };
  return { name, label: `f = ${factor}`, kind: "KL", factor, ...rest };
};
const picture = (name = "a") => {
  const data = new DataView(new ArrayBuffer(4));
  return { name, width: PIXELS, height: PIXELS, data, notices: [] };
};
const result = (name: string, psnr: number | null = 20): Result => {
  const bytes = { data: new Uint8Array(4), error: new Uint8Array(PIXELS ** 2).fill(255) };
  const numbers = { error_max: 51, psnr, ssim: 0.9, perceptual: 0.01, bits: 0.5, seconds: 0.012 };
  return { name, ...bytes, ...numbers, padded: null, notices: [] };
};
const sample = (name: string) => {
  return { name, caption: `a picture of ${name}`, data: new Uint8Array(4) };
};

const traits = () => ({
  uid: String(Math.random()),
  catalogue: ["A", "B", "C", "D", "E"].map((name) => entry(name)),
  samples: [sample("a"), sample("b")],
  can_send: false,
  chosen: ["A", "B"],
  active: "A",
  panel: "latents",
  side: 128,
  view: "rebuilt",
  state: "idle",
  message: "",
  picture: picture(),
  second: {},
  results: [result("A", 20), result("B", 30)],
  latents: {},
  edited: {},
  touch: {},
  between: {},
  noise: {},
});

let model: FakeModel;
let root: HTMLElement;
let undo: () => void;
let urls: Set<string>;

const all = (selector: string) => [...root.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => root.querySelector(selector) as HTMLElement;
const frameOf = (name: string) => one(`.sdw-lab-cell[data-name=${name}] .sdw-lab-frame`);
const press = (element: HTMLElement, key: string, more: object = {}) =>
  element.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }),
  );
const numbersOf = (name: string) =>
  all(`.sdw-lab-cell[data-name=${name}] dd`).map((dd) => dd.textContent);

function render() {
  root = document.createElement("div");
  document.body.replaceChildren(root);
  const { initialize, render } = lab as unknown as Record<string, (of: unknown) => () => void>;
  const parts = [initialize?.({ model }), render?.({ model, el: root })];
  undo = () => {
    for (const part of parts.reverse()) part?.();
  };
}

beforeEach(() => {
  vi.useFakeTimers();
  urls = countedUrls();
  model = new FakeModel(traits());
  render();
});

afterEach(() => {
  undo();
  vi.useRealTimers();
  vi.restoreAllMocks();
});

// -------------------------------------------------------------------------------- the comparison

test("the image and each chosen autoencoder have a cell, with the numbers", () => {
  expect(all(".sdw-lab-cell").map((cell) => cell.dataset.name)).toEqual([undefined, "A", "B"]);
  expect(numbersOf("A")).toEqual(["20.0 dB", "0.900", "0.010", "0.500", "12 ms"]);
});

test("a number that is not known is a dash", () => {
  model.change({ results: [result("A", null)] });
  expect(numbersOf("A")[0]).toBe("–");
  expect(numbersOf("B")).toEqual(["–", "–", "–", "–", "–"]);
  expect(one(".sdw-lab-cell[data-name=B]").hasAttribute("data-stale")).toBe(true);
});

test("the best of each number is marked, and nothing where there is no choice", () => {
  expect(all("dd[data-best]").map((dd) => dd.textContent)).toContain("30.0 dB");
  expect(all("dd[data-best]").map((dd) => dd.textContent)).not.toContain("20.0 dB");
  const row = { words: "", title: "", better: 1 as const, text: String };
  expect(best([result("A")], { ...row, value: (each) => each.psnr })).toBeUndefined();
});

test("a click or Enter makes a cell the active one", () => {
  frameOf("B").click();
  expect(model.state.active).toBe("B");
  expect(frameOf("B").getAttribute("aria-pressed")).toBe("true");
  press(frameOf("A"), "Enter");
  expect(model.state.active).toBe("A");
});

test("arrow keys move the line of before and after, in all cells at once", () => {
  one("[data-value=slider]").click();
  press(frameOf("A"), "ArrowLeft");
  press(frameOf("A"), "ArrowLeft", { shiftKey: true });
  for (const name of ["A", "B"]) {
    expect(frameOf(name).getAttribute("role")).toBe("slider");
    expect(frameOf(name).getAttribute("aria-valuenow")).toBe("38");
  }
  press(frameOf("B"), "End");
  press(frameOf("B"), "ArrowRight");
  expect(frameOf("A").getAttribute("aria-valuenow")).toBe("100");
});

test("error maps have one scale for all", () => {
  model.change({ results: [result("A"), { ...result("B"), error_max: 102 }] });
  expect(one(".sdw-lab-scale").textContent).toContain("102 of 255");
  const dark = errorPixels(new Uint8Array([0]), 51, 102);
  const half = errorPixels(new Uint8Array([255]), 51, 102);
  const full = errorPixels(new Uint8Array([255]), 102, 102);
  expect((dark[0] as number) < (half[0] as number)).toBe(true);
  expect([...full]).toEqual([252, 253, 191, 255]);
});

test("where a heat map is cold the image is seen whole", () => {
  const pixels = heatPixels(new Uint8Array([0, 255]));
  expect(pixels[3]).toBe(0);
  expect((pixels[7] as number) > 200).toBe(true);
});

test("a pixel marks the pixels of its latent cell", () => {
  expect(spot({ cell: undefined, pixel: { x: 9, y: 3 } }, 8)).toEqual({ x: 8, y: 0, side: 8 });
  expect(spot({ cell: { x: 2, y: 1 }, pixel: undefined }, 8)).toEqual({ x: 16, y: 8, side: 8 });
  expect(spot({ cell: undefined, pixel: undefined }, 8)).toBeUndefined();
});

test("what a cell touches is drawn on the image and the active one, while it is pointed at", () => {
  const touch = { of: "cell", x: 1, y: 0, width: 4, height: 4, share: 1 };
  const view = stores.of(model as never) as Store;
  view.point({ cell: { x: 1, y: 0 } });
  model.change({ touch: { ...touch, data: new Uint8Array(16) } });
  const shown = () => all(".sdw-lab-cells .sdw-lab-heat").map((heat) => !heat.hidden);
  expect(shown()).toEqual([true, true, false]);
  view.point({ cell: undefined });
  expect(shown()).toEqual([false, false, false]);
});

// ----------------------------------------------------------------------------- what can be chosen

test("pressing an autoencoder shows it, pressing it again takes it away", () => {
  one(".sdw-lab-chip[data-name=C]").click();
  expect(model.state.chosen).toEqual(["A", "B", "C"]);
  one(".sdw-lab-chip[data-name=A]").click();
  expect(model.state.chosen).toEqual(["B", "C"]);
  expect(model.state.active).toBe("B");
});

test("one stays, and a fifth comes in place of the fourth", () => {
  expect(pressed(["A"], "A")).toEqual(["A"]);
  expect(pressed(["A", "B", "C", "D"], "E")).toEqual(["A", "B", "C", "E"]);
});

test("a sample is asked for by name, also by arrow keys", () => {
  one(".sdw-lab-sample[data-name=b]").click();
  press(one(".sdw-lab-sample[data-name=b]"), "ArrowRight");
  expect(model.sent).toEqual([
    { kind: "sample", name: "b" },
    { kind: "sample", name: "a" },
  ]);
  expect(one(".sdw-lab-sample[data-name=a]").getAttribute("aria-checked")).toBe("true");
});

test("the size is chosen among three", () => {
  one("[data-value='256']").click();
  expect(model.state.side).toBe(256);
});

test("selections go to the kernel at once, then at intervals", () => {
  for (const side of ["64", "128", "256"]) one(`[data-value='${side}']`).click();
  expect(model.saved).toHaveLength(1);
  vi.advanceTimersByTime(100);
  expect(model.saved).toHaveLength(2);
});

test("an answer to an earlier choice takes back none that waits to be sent", () => {
  one("[role=tab][data-name=play]").click();
  one("[role=tab][data-name=noise]").click();
  model.change({ panel: "play" }); // the kernel's echo of the first
  expect(model.state.panel).toBe("noise");
  vi.advanceTimersByTime(100);
  model.change({ panel: "between" }); // and what is set there afterwards counts
  expect(model.state.panel).toBe("between");
});

test("a tab shows its panel, and is saved", () => {
  one("[role=tab][data-name=noise]").click();
  expect(model.state.panel).toBe("noise");
  expect(root.dataset.panel).toBe("noise");
  const shown = [...one("[role=tabpanel]").children] as HTMLElement[];
  expect(shown.filter((panel) => !panel.hidden)).toHaveLength(1);
});

// ---------------------------------------------------------------------------------------- files

test("a file goes in parts of a mebibyte, in order", async () => {
  const file = new File([new Uint8Array(2 ** 20 + 3)], "a.png");
  const parts = await partsOf(file, true);
  expect(parts.map(({ data }) => data.byteLength)).toEqual([2 ** 20, 3]);
  expect(parts[1]?.message).toEqual({
    ...{ kind: "file", name: "a.png", size: 2 ** 20 + 3, part: 1, parts: 2, second: true },
  });
});

test("an empty file is one part", async () => {
  const parts = await partsOf(new File([], "a.png"), false);
  expect(parts.map(({ message }) => message.parts)).toEqual([1]);
});

test("of two files for the same image, only the newer is sent, whichever is read first", async () => {
  const view = stores.of(model as never) as Store;
  const reading: (() => void)[] = [];
  const file = (name: string) => {
    const made = new File([], name);
    made.arrayBuffer = () =>
      new Promise((resolve) => reading.push(() => resolve(new ArrayBuffer(1))));
    return made;
  };
  view.open(file("old.png"));
  view.open(file("new.png"));
  view.open(file("other.png"), true);
  for (const read of reading.reverse()) {
    read();
    await vi.advanceTimersByTimeAsync(0);
  }
  expect(model.sent.map(({ name }) => name)).toEqual(["other.png", "new.png"]);
});

test("a file over the limit is refused with its size, and nothing is sent", () => {
  const file = { name: "big.png", size: 20.5 * 2 ** 20 };
  expect(refusal(file)).toContain("big.png has 20.5 MB");
  const view = stores.of(model as never) as Store;
  view.open(file as File);
  expect(one(".sdw-lab-wrong").textContent).toContain("at most 16 MB");
  model.change({ touch: {} }); // an answer that has nothing to do with it
  expect(one(".sdw-lab-wrong").textContent).toContain("at most 16 MB");
  expect(model.sent).toEqual([]);
});

test.each(["drop", "paste"])("a file comes by %s", async (kind) => {
  const event = new Event(kind, { bubbles: true, cancelable: true });
  const transfer = { types: ["Files"], files: [new File(["x"], "a.png")] };
  Object.assign(event, { [kind === "drop" ? "dataTransfer" : "clipboardData"]: transfer });
  one(".sdw-lab-open").dispatchEvent(event);
  await vi.runOnlyPendingTimersAsync();
  expect(event.defaultPrevented).toBe(true);
  expect(model.sent[0]).toMatchObject({ kind: "file", name: "a.png", part: 0, parts: 1 });
});

test("text that is pasted is left alone", () => {
  const event = new Event("paste", { bubbles: true, cancelable: true });
  Object.assign(event, { clipboardData: { types: ["text/plain"], files: [] } });
  root.dispatchEvent(event);
  expect(event.defaultPrevented).toBe(false);
});

// ---------------------------------------------------------------------------------- the messages

test("notices and errors are told apart", () => {
  model.change({ message: "Padded to 136 x 128." });
  expect(one(".sdw-lab-status").textContent).toBe("Padded to 136 x 128.");
  model.change({ state: "error", message: "That is no picture." });
  expect(one(".sdw-lab-status").textContent).toBe("");
  expect(one(".sdw-lab-wrong").textContent).toBe("That is no picture.");
  expect(root.dataset.state).toBe("error");
});

test("a kernel that does not answer is missed, until it does", () => {
  one("[data-value='256']").click();
  vi.advanceTimersByTime(4000);
  expect(one(".sdw-lab-status").textContent).toContain("No kernel answers");
  model.change({ state: "working" });
  expect(one(".sdw-lab-status").textContent).toBe("Working");
});

test("without a kernel no click takes the results away", async () => {
  model.change({ state: "working", message: "" });
  await lose(model);
  const lost = "The kernel has ended: run the cell again.";
  expect([root.dataset.state, one(".sdw-lab-status").textContent]).toEqual(["idle", lost]);
  model.change({ state: "idle", message: "" });
  expect(one(".sdw-lab-status").textContent).toBe("");
  const before = all(".sdw-lab-cell[data-name]").length;
  for (const each of [
    ...all(".sdw-lab-chip"),
    one("[data-value='256']"),
    ...all(".sdw-lab-sample"),
  ]) {
    each.click();
    expect(one(".sdw-lab-status").textContent).toBe(lost);
    expect(all(".sdw-lab-cell[data-name]").length).toBe(before);
  }
  expect([model.state.chosen, model.state.side]).toEqual([["A", "B"], 128]);
  one("[data-value=error]").click();
  expect(model.state.view).toBe("error");
});

test("a place is asked about once the pointer rests", () => {
  const view = stores.of(model as never) as Store;
  view.point({ pixel: { x: 1, y: 1 } });
  view.point({ pixel: { x: 2, y: 1 } });
  vi.advanceTimersByTime(100);
  expect(model.sent).toEqual([{ kind: "touch", of: "pixel", x: 2, y: 1 }]);
  vi.advanceTimersByTime(10_000);
  expect(one(".sdw-lab-status").textContent).toBe("");
});

test("keys stay in the lab", () => {
  let outside = 0;
  const count = () => outside++;
  document.body.addEventListener("keydown", count);
  press(one(".sdw-lab-open"), "d");
  expect(outside).toBe(0);
  document.body.removeEventListener("keydown", count);
});

// -------------------------------------------------------------------------------- the boundaries

test("values of traits that are no such thing count as nothing", () => {
  expect(read("picture", { name: 3 })).toBeUndefined();
  expect(read("picture", { ...picture(), width: -1 })).toBeUndefined();
  expect(read("results", [result("A"), { name: "B" }, null])).toHaveLength(1);
  expect(read("state", "on fire")).toBe("idle");
  expect(read("noise", {})).toBeUndefined();
  const rubbish = Object.keys(model.state).map((name) => [name, name === "uid" ? "x" : 7]);
  model.change(Object.fromEntries(rubbish));
  expect(all(".sdw-lab-cell")).toHaveLength(1);
});

test("no text is ever markup", () => {
  model.change({ message: "<b>bold</b>", picture: picture("<img>") });
  expect(one(".sdw-lab-status").children).toHaveLength(0);
  expect(one(".sdw-lab-original figcaption").textContent).toBe("<img>");
});

test("the cleanup leaves no listener and no image's address", () => {
  expect(urls.size).toBeGreaterThan(0);
  undo();
  expect(model.listening).toBe(0);
  expect(urls.size).toBe(0);
  render();
});
