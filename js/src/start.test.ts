import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel, placeAtOnce } from "../test/model";
import { SETTINGS_TYPE } from "./lib/files";
import { LOST } from "./lib/kernel";
import start from "./start";

let model: FakeModel;
let root: HTMLElement;
let el: HTMLElement;
let undo: () => void;
let urls: Set<string>;

const find = <T extends HTMLElement>(selector: string) => el.querySelector(selector) as T;
const text = (selector: string) => find(selector).textContent;
const button = (words: string) =>
  [...el.querySelectorAll("button")].find((one) => one.textContent === words) as HTMLElement;
const file = (size = 3, name = "cat.png") => new File([new Uint8Array(size)], name);
/** What the page's file reading needs to come to its end. */
const settled = () => vi.waitFor(() => expect(model.sent.length).toBeGreaterThan(0));

/** Something that is dropped or pasted on an element. */
function give(target: Element, type: "drop" | "paste", files: File[], types: string[] = ["Files"]) {
  const event = new Event(type, { bubbles: true, cancelable: true });
  const name = type === "drop" ? "dataTransfer" : "clipboardData";
  Object.defineProperty(event, name, { value: { files, types } });
  target.dispatchEvent(event);
  return event;
}

beforeEach(() => {
  urls = countedUrls();
  placeAtOnce();
  model = new FakeModel({
    ...{
      thumbnail: new Uint8Array(),
      note: "",
      masked: "",
      reshaped: false,
      strength: 0.8,
      fit: "crop",
    },
    ...{ offer: "", message: "", problem: "" },
  });
  root = document.createElement("div");
  root.className = "sdw-studio";
  el = document.createElement("div");
  root.append(el, document.createElement("textarea"));
  document.body.replaceChildren(root);
  undo = start.render({ model, el } as never) as () => void;
});
afterEach(() => {
  undo();
  vi.unstubAllGlobals();
  vi.restoreAllMocks();
});

test("without an image there is a button alone", () => {
  expect([find(".sdw-start-image").hidden, find(".sdw-start-offer").hidden]).toEqual([true, true]);
  expect(el.hasAttribute("data-open")).toBe(false);
  expect(button("Start image…")).toBeDefined();
});

test("with an image come its size, its strength and, of another shape, how it is fitted", () => {
  model.change({ thumbnail: new Uint8Array([1]), note: "20 x 10 pixels", reshaped: true });
  expect(text(".sdw-start-note")).toBe("20 x 10 pixels");
  expect([find(".sdw-start-image").hidden, find(".sdw-start-fit").hidden]).toEqual([false, false]);
  expect(text("output")).toBe("0.80");
  model.change({ reshaped: false, strength: 0.3 });
  expect([find(".sdw-start-fit").hidden, text("output")]).toEqual([true, "0.30"]);
});

test("strength and fit are told, and so is the wish to start from noise", () => {
  const slider = find<HTMLInputElement>("input[type=range]");
  slider.value = "0.5";
  slider.dispatchEvent(new Event("change"));
  const fit = find<HTMLSelectElement>("select");
  fit.value = "pad";
  fit.dispatchEvent(new Event("change"));
  button("Start from noise").click();
  expect(model.sent).toEqual([
    { kind: "set", name: "strength", value: 0.5 },
    { kind: "set", name: "fit", value: "pad" },
    { kind: "drop" },
  ]);
});

test("a file dropped anywhere on the Studio goes to the kernel, in parts", async () => {
  await Promise.resolve();
  const event = give(root, "drop", [file(2 ** 20 + 1)]);
  expect(event.defaultPrevented).toBe(true);
  expect(text(".sdw-start-said")).toBe("Opening cat.png");
  await settled();
  expect(model.sent.map(({ kind, part, parts }) => [kind, part, parts])).toEqual([
    ["file", 0, 2],
    ["file", 1, 2],
  ]);
  model.change({ thumbnail: new Uint8Array([1]) });
  expect(text(".sdw-start-said")).toBe("");
});

test("the same file again is opened, too, although no trait changes", async () => {
  await Promise.resolve();
  give(root, "drop", [file()]);
  await settled();
  expect(el.getAttribute("aria-busy")).toBe("true");
  model.emit("msg:custom", { kind: "taken" }, []);
  expect([text(".sdw-start-said"), el.getAttribute("aria-busy")]).toEqual(["", "false"]);
});

test("of two files, the later one is sent, whichever is read first", async () => {
  await Promise.resolve();
  const slow = file(3, "slow.png");
  let read = (_: ArrayBuffer) => {};
  const waiting = new Promise<ArrayBuffer>((done) => {
    read = done;
  });
  vi.spyOn(slow, "arrayBuffer").mockReturnValue(waiting);
  give(root, "drop", [slow]);
  give(root, "drop", [file(3, "quick.png")]);
  await settled();
  read(new ArrayBuffer(3));
  await waiting;
  await new Promise((done) => setTimeout(done));
  expect(model.sent.map(({ name }) => name)).toEqual(["quick.png"]);
});

test("a kernel that is gone is said, also while a file is on its way", async () => {
  await Promise.resolve();
  give(root, "drop", [file()]);
  await settled();
  model.kernel = false;
  model.emit("comm_live_update");
  await vi.waitFor(() => expect(text(".sdw-error")).toBe(LOST));
  expect([text(".sdw-start-said"), el.getAttribute("aria-busy")]).toEqual(["", "false"]);
  const count = model.sent.length;
  give(root, "drop", [file()]);
  button("Start from noise").click();
  expect([text(".sdw-error"), model.sent.length]).toEqual([LOST, count]);
});

test("a slider in somebody's hand stays where it is while something else changes", () => {
  const slider = find<HTMLInputElement>("input[type=range]");
  slider.value = "0.5";
  slider.dispatchEvent(new Event("input"));
  model.change({ note: "20 x 10 pixels" });
  expect([slider.value, text("output")]).toEqual(["0.5", "0.50"]);
  model.change({ strength: 0.3 });
  expect([slider.value, text("output")]).toEqual(["0.3", "0.30"]);
});

test("a pasted image is taken, but text that is pasted into a field stays text", async () => {
  await Promise.resolve();
  const field = root.querySelector("textarea") as Element;
  const both = give(field, "paste", [file()], ["text/plain", "Files"]);
  expect([both.defaultPrevented, text(".sdw-start-said")]).toEqual([false, ""]);
  give(field, "paste", [file()]);
  expect(text(".sdw-start-said")).toBe("Opening cat.png");
  await settled();
});

test("a file that is too large is refused with its size, and nothing is sent", async () => {
  await Promise.resolve();
  give(root, "drop", [file(17 * 2 ** 20)]);
  expect(text(".sdw-error")).toContain("cat.png has 17.0 MB; at most 16 MB are taken");
  expect(model.sent).toEqual([]);
  model.change({ thumbnail: new Uint8Array([1]) });
  expect(text(".sdw-error")).toBe("");
});

test("a file with settings asks what it is for", () => {
  model.change({ offer: "<b>a cat</b>, seed 7" });
  expect([text(".sdw-start-found"), find(".sdw-start-offer").hidden]).toEqual([
    "<b>a cat</b>, seed 7",
    false,
  ]);
  for (const words of ["Restore its settings", "Start from it", "Neither"]) button(words).click();
  expect(model.sent.map(({ kind }) => kind)).toEqual(["restore", "take", "dismiss"]);
});

test("removed, it listens to nothing and keeps no address", async () => {
  await Promise.resolve();
  model.change({ thumbnail: new Uint8Array([1]) });
  undo();
  expect([model.listening, urls.size]).toEqual([0, 0]);
  expect(give(root, "drop", [file()]).defaultPrevented).toBe(false);
});

/** A record with a start image of two bytes, or without one. */
function record(name = "cat.sdtrace", withImage = true) {
  const made = { model: "m", task: "image to image", settings: { prompt: "a cat", seed: 7 } };
  const image = withImage ? { given_image: { data_offsets: [1, 3] } } : {};
  const header = JSON.stringify({ __metadata__: { sdtrace: JSON.stringify(made) }, ...image });
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  return new File([length, header, new Uint8Array([9, 5, 6, 9])], name);
}

test("of a recorded run, the start image and then the settings are sent, and nothing else", async () => {
  give(root, "drop", [record()]);
  expect([text(".sdw-start-said"), el.getAttribute("aria-busy")]).toEqual([
    "Opening cat.sdtrace",
    "true",
  ]);
  await vi.waitFor(() => expect(model.sent.length).toBe(2));
  const [image, settings] = model.sent;
  expect(image).toMatchObject({ kind: "file", size: 2, parts: 1 });
  expect(settings).toMatchObject({
    kind: "settings",
    made: { model: "m", given: ["image"], settings: { prompt: "a cat", seed: 7 } },
    image: true,
  });
});

test("of an inpainting, its mask goes after its image", async () => {
  const made = { model: "m", task: "inpainting", settings: { prompt: "a cat", seed: 7 } };
  const given = { given_image: { data_offsets: [0, 2] }, given_mask: { data_offsets: [2, 3] } };
  const header = JSON.stringify({ __metadata__: { sdtrace: JSON.stringify(made) }, ...given });
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  give(root, "drop", [new File([length, header, new Uint8Array([5, 6, 7])], "cat.sdtrace")]);
  await vi.waitFor(() => expect(model.sent.length).toBe(3));
  expect(model.sent).toMatchObject([
    { kind: "file", size: 2, second: false },
    { kind: "file", size: 1, second: true },
    { kind: "settings", image: true, mask: true },
  ]);
});

test("of a run with a label map and neighbours, each goes by its name", async () => {
  const given = {
    given_label_map: { shape: [1, 2], data_offsets: [0, 4] },
    "given_neighbour.0": { data_offsets: [4, 6] },
    "given_neighbour.1": { data_offsets: [6, 7] },
  };
  const made = { model: "m", settings: { prompt: "", seed: 7 } };
  const header = JSON.stringify({ __metadata__: { sdtrace: JSON.stringify(made) }, ...given });
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  give(root, "drop", [new File([length, header, new Uint8Array(7)], "cat.sdtrace")]);
  await vi.waitFor(() => expect(model.sent.length).toBe(4));
  expect(model.sent).toMatchObject([
    { kind: "file", size: 4, second: false, of: "label_map", shape: [1, 2] },
    { kind: "file", size: 2, second: false, of: "neighbour.0" },
    { kind: "file", size: 1, second: false, of: "neighbour.1" },
    { kind: "settings", image: false, came: ["label_map", "neighbour.0", "neighbour.1"] },
  ]);
});

test("a mask is named beside its image, and can be removed", () => {
  model.change({ thumbnail: new Uint8Array([1]) });
  expect(find(".sdw-start-mask").hidden).toBe(true);
  model.change({ masked: "20 % of it painted over" });
  expect(text(".sdw-start-mask")).toContain("20 % of it painted over");
  button("Remove the mask").click();
  expect(model.sent).toEqual([{ kind: "unmask" }]);
});

test("the painter, the last result and its words are offered when there is what they need", () => {
  const shown = (one: HTMLElement) => !one.hidden && one.closest("[hidden]") === null;
  const maps = find(".sdw-start-maps");
  expect(["Use the last result", "Paint a mask…"].map(button).some(shown)).toBe(false);
  model.change({ results: 1, words: ["cat"] });
  button("Use the last result").click();
  model.change({ thumbnail: new Uint8Array([1]) });
  button("Paint a mask…").click();
  expect(maps.hidden).toBe(true); // until there is something to paint on
  model.change({ painting: true });
  expect(button("Close the painter").getAttribute("aria-expanded")).toBe("true");
  const words = maps.querySelector("select") as HTMLSelectElement;
  expect([...words.options].map(({ value }) => value)).toEqual(["", "cat"]);
  words.value = "cat";
  words.dispatchEvent(new Event("change"));
  expect(shown(button("The last change"))).toBe(false);
  model.change({ results: 2 });
  button("The last change").click();
  expect(words.value).toBe("cat");
  expect(model.sent).toEqual([
    { kind: "last" },
    { kind: "paint" },
    { kind: "word", word: "cat" },
    { kind: "change" },
  ]);
});

test("the slider says where the run begins, also while it moves", () => {
  model.change({ thumbnail: new Uint8Array([1]), steps: 4, levels: [] });
  expect(text(".sdw-start-where")).toBe("from step 2 of 4"); // 0.8 of 4 are three steps
  expect(find("canvas").hidden).toBe(true);
  model.change({ levels: [10, 5, 2, 1, 0] });
  const slider = find<HTMLInputElement>("input[type=range]");
  slider.value = "0.5";
  slider.dispatchEvent(new Event("input"));
  expect(text(".sdw-start-where")).toBe("from step 3 of 4, sigma 2");
  expect(slider.getAttribute("aria-valuetext")).toBe("0.50, from step 3 of 4, sigma 2");
  expect(model.sent).toEqual([]);
  model.change({ steps: 0, levels: [] });
  expect(text(".sdw-start-where")).toBe("");
});

test("of several records, only the newest counts", async () => {
  give(root, "drop", [record("a.sdtrace", false)]);
  give(root, "drop", [record("b.SDTRACE", false)]);
  await settled();
  await new Promise((next) => setTimeout(next));
  expect(model.sent).toMatchObject([{ kind: "settings", image: false }]);
});

test("a file that only has the name of a record is refused", async () => {
  give(root, "drop", [file(20, "cat.sdtrace")]);
  await vi.waitFor(() => expect(text(".sdw-error")).toContain("cat.sdtrace is no recorded run"));
  expect(model.sent).toEqual([]);
});

test("settings that are dragged are taken over, also with a start image", async () => {
  const made = { model: "m", settings: { seed: 7 } };
  const transfer = (files: File[]) => ({
    types: [SETTINGS_TYPE, ...(files.length > 0 ? ["Files"] : [])],
    files,
    dropEffect: "none",
    getData: (type: string) => (type === SETTINGS_TYPE ? JSON.stringify(made) : ""),
  });
  const dispatch = (name: string, dataTransfer: object) => {
    const event = new Event(name, { bubbles: true, cancelable: true });
    Object.defineProperty(event, "dataTransfer", { value: dataTransfer });
    root.dispatchEvent(event);
    return event;
  };
  const over = transfer([]);
  expect(dispatch("dragover", over).defaultPrevented).toBe(true);
  expect([over.dropEffect, root.hasAttribute("data-dropping")]).toEqual(["copy", true]);
  dispatch("drop", transfer([]));
  await settled();
  expect(root.hasAttribute("data-dropping")).toBe(false);
  dispatch("drop", transfer([file(2, "image.png")]));
  await vi.waitFor(() => expect(model.sent.length).toBe(3));
  expect(model.sent).toMatchObject([
    { kind: "settings", made, image: false },
    { kind: "file", size: 2 },
    { kind: "settings", made, image: true },
  ]);
});

test("a host finds out what the Studio takes, as long as it is there", () => {
  expect(root.dataset.takes).toBe("image record settings");
  undo();
  expect(root.dataset.takes).toBeUndefined();
});
