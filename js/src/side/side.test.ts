import type { AnyModel } from "@anywidget/types";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel } from "../../test/model";
import { SIDE, SIDE_CONNECT } from "../lib/contract";
import { times } from "../lib/numbers";
import { bytesIn } from "../lib/words";
import { ENGLISH, type Host } from "./host";
import { large } from "./large";
import { LINKS } from "./said";
import { type Side, sideView } from "./view";

const job = (id: number, more: object = {}) => ({
  ...{ id, model: "emoji", prompt: `prompt ${id}`, state: "queued", message: "" },
  ...{ step: 0, steps: 0, seconds: null, eta: null, ahead: 0 },
  ...more,
});
const listed = (name: string, more: object = {}) => ({
  ...{ name, title: name, place: "folder", what: "Stable Diffusion 1", bytes: 2e9 },
  ...{ state: "found", why: "" },
  ...more,
});
const image = (id: number, more: object = {}) => ({
  ...{ id, prompt: `image ${id}`, model: "emoji", seed: 7, width: 128, height: 128 },
  ...{ settings: { seed: id }, thumbnail: new Uint8Array([id]) },
  ...more,
});

const START: Side = {
  ...{ link: "linked", busy: false, reachable: true, place: "a.ipynb", kernel: "Python 3" },
  ...{ chosen: 1, begun: "", problem: "", v: SIDE.v, version: "1.0", device: "cpu" },
  ...{ jobs: [], models: [], done: true, memory: undefined, images: [], refused: undefined },
};

let model: FakeModel;
let el: HTMLElement;
let leave: () => void;
let urls: Set<string>;
let host: Host;

const find = <T extends HTMLElement>(selector: string) => el.querySelector(selector) as T;
const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const text = (selector: string) => find(selector).textContent ?? "";
const named = (name: string) =>
  all("button").find((one) => (one.getAttribute("aria-label") ?? one.textContent) === name);
const press = (key: string, more: object = {}) =>
  document.activeElement?.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more }),
  );
const change = (changes: Partial<Side>) => model.change(changes);

beforeEach(() => {
  urls = countedUrls();
  model = new FakeModel({ ...START });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  host = {
    texts: ENGLISH,
    icon: () => document.createElement("span"),
    ...{ enlarge: vi.fn(), insert: vi.fn(), drag: vi.fn(), explain: vi.fn() },
  };
  leave = sideView(model as unknown as AnyModel<Side>, el, host);
});
afterEach(() => {
  leave();
  vi.restoreAllMocks();
  vi.useRealTimers();
});

test("leaving gives everything back", () => {
  change({ images: [image(1)], models: [listed("a")] });
  named("Load a")?.click();
  expect(urls.size).toBe(1);
  leave();
  expect(model.listening).toBe(0);
  expect(urls.size).toBe(0);
  expect(el.children.length).toBe(0);
});

// --------------------------------------------------------------------------------- the kernel

test("every state of the kernel is said, and only a linked kernel has sections", () => {
  const said = new Set<string>();
  for (const link of LINKS) {
    change({ link });
    const linked = link === "linked";
    expect(find(".sdw-side-parts").hidden).toBe(!linked);
    expect(find(".sdw-side-away").hidden).toBe(linked);
    expect(find(".sdw-side-begins").hidden).toBe(link !== "absent");
    said.add(text(".sdw-side-said"));
  }
  expect(said.size).toBe(LINKS.length);
});

test("a kernel without sdwidgets shows the code that the button runs, and what became of it", () => {
  change({ link: "absent" });
  expect(text(".sdw-side-code")).toBe(SIDE_CONNECT);
  expect(model.sent).toEqual([]);
  find(".sdw-side-begin").click();
  expect(model.sent).toEqual([{ kind: "begin" }]);
  change({ begun: "asked", busy: true });
  expect(text(".sdw-side-said")).toContain("after the cell");
  find(".sdw-side-begin").click();
  expect(model.sent.length).toBe(1);
  change({ begun: "missing" });
  expect(text(".sdw-side-said")).toContain("%pip install sdwidgets");
  change({ begun: "failed", problem: "ValueError: no" });
  expect(text(".sdw-side-error")).toBe("ValueError: no");
});

test("an older and a newer kernel are said, and what is known is shown", () => {
  change({ jobs: [job(1, { state: "running", step: 1, steps: 4 })] });
  for (const [v, word] of [
    [SIDE.v - 1, "older"],
    [SIDE.v + 1, "newer"],
  ] as const) {
    change({ v: v === 0 ? -1 : v, version: "9.9" });
    expect(text(".sdw-side-old")).toContain(`9.9 is ${word}`);
    expect(text(".sdw-side-running .sdw-side-name")).toBe("prompt 1");
  }
  change({ v: SIDE.v });
  expect(text(".sdw-side-old")).toBe("");
});

test("a busy kernel that hears nothing meanwhile is said", () => {
  change({ busy: true });
  expect(text(".sdw-side-top")).not.toContain("busy");
  change({ reachable: false });
  expect(text(".sdw-side-top")).toContain("busy");
});

test("a refusal is said, and the buttons work again", () => {
  change({ models: [listed("a")], jobs: [job(1, { state: "running" })] });
  named("Load a")?.click();
  named("Stop the run")?.click();
  expect(named("Load a")?.getAttribute("aria-disabled")).toBe("true");
  change({ refused: { about: "load", message: "It is gone." } });
  expect(text(".sdw-side-error")).toBe("It is gone.");
  expect(named("Load a")?.getAttribute("aria-disabled")).toBe("false");
  expect(named("Stop the run")?.getAttribute("aria-disabled")).toBe("false");
});

test("what a kernel sends is text, whatever is in it, and of the wrong type is left out", () => {
  const bad = "<img src=x onerror=alert(1)><b>";
  const bytes = new Uint8Array([1]);
  change({
    ...{ place: bad, kernel: bad, device: bad, version: bad, v: 99 },
    refused: { about: bad, message: bad },
    memory: { name: bad, total: 10, free: 5, process: 1 },
    jobs: [
      job(1, { prompt: bad, model: bad, state: "running", message: bad }),
      job(2, { prompt: bad, model: bad }),
      ...["x", null, { id: "1", state: "running" }, { id: 3, state: bad }],
    ],
    models: [
      listed(bad, { what: bad }),
      listed("c", { state: "refused", why: bad }),
      ...[null, { name: 1, state: "found" }, { name: "d", state: bad }],
    ],
    images: [image(1, { prompt: bad, thumbnail: bytes }), { id: "x" }, 7],
  });
  expect(all("b, [onerror]").length).toBe(0);
  expect(all("img").every((one) => one.getAttribute("src")?.startsWith("blob:"))).toBe(true);
  expect(all(".sdw-side-model").length).toBe(2);
  expect(all(".sdw-side-job").length).toBe(1);
  expect(all(".sdw-thumb").length).toBe(1);
  for (const wrong of [null, 7, "x", { length: 3 }]) {
    change({ jobs: wrong, models: wrong, images: wrong, memory: wrong });
    expect(all(".sdw-side-model, .sdw-side-job, .sdw-thumb").length).toBe(0);
  }
});

// ---------------------------------------------------------------------------------- the queue

test("the running job shows its progress, and is stopped once", () => {
  const progress = find<HTMLProgressElement>(".sdw-side-progress");
  expect(text(".sdw-side-running")).toContain("Nothing runs");
  expect(progress.value).toBe(0);
  change({ jobs: [job(5, { state: "loading", message: "Reading the weights" })] });
  expect(progress.hasAttribute("value")).toBe(false);
  expect(text(".sdw-side-running")).toContain("Reading the weights");
  change({ jobs: [job(5, { state: "running", step: 5, steps: 20, eta: 12 })] });
  expect(progress.value).toBe(0.25);
  expect(text(".sdw-side-running")).toContain("step 5 of 20");
  expect(text(".sdw-side-running")).toContain("12 s left");
  named("Stop the run")?.click();
  named("Stop the run")?.click();
  expect(model.sent).toEqual([{ kind: "stop", job: 5 }]);
  expect(text(".sdw-side-running")).toContain("Stopping");
  change({ jobs: [job(5, { state: "error", message: "No memory.\nTake a smaller size." })] });
  expect(text(".sdw-side-running")).toContain("No memory.\nTake a smaller size.");
});

test("the jobs that wait are moved and removed, by buttons and by keys", () => {
  const jobs = [job(1, { state: "running" }), job(2), job(3), job(4)];
  change({ jobs });
  const order = () => all(".sdw-side-job .sdw-side-name").map((one) => one.textContent);
  expect(order()).toEqual(["prompt 2", "prompt 3", "prompt 4"]);
  named("Earlier: prompt 2")?.click(); // it is the next already
  expect(model.sent).toEqual([]);
  named("Later: prompt 2")?.click();
  expect(model.sent.pop()).toEqual({ kind: "move", job: 2, to: 1 });

  named("Earlier: prompt 2")?.focus();
  press("ArrowDown");
  press("ArrowRight");
  expect(document.activeElement).toBe(named("Later: prompt 3"));
  press("ArrowUp", { altKey: true });
  expect(model.sent.pop()).toEqual({ kind: "move", job: 3, to: 0 });
  change({ jobs: [jobs[0], jobs[2], jobs[1], jobs[3]] });
  expect(order()).toEqual(["prompt 3", "prompt 2", "prompt 4"]);
  expect(document.activeElement).toBe(named("Later: prompt 3")); // the focus goes along
  press("Delete");
  expect(model.sent.pop()).toEqual({ kind: "stop", job: 3 });
  change({ jobs: [jobs[0], jobs[1], jobs[3]] });
  expect(el.contains(document.activeElement)).toBe(true);
  expect(all(".sdw-side-job [tabindex='0']").length).toBe(1);
});

// --------------------------------------------------------------------------------- the models

test("five hundred models are in the list, of which few are in the page", () => {
  change({ models: times(500, (i) => listed(`model ${i}`, { state: "reading" })), done: false });
  expect(text(".sdw-side-note[role=status]")).toBe("");
  expect(find("[aria-label=Models][role=grid]").getAttribute("aria-rowcount")).toBe("500");
  expect(all(".sdw-side-model").length).toBeLessThan(40);
  expect(el.textContent).toContain("500 models · reading 500");

  change({ models: times(500, (i) => listed(`model ${i}`)), done: true });
  expect(el.textContent).not.toContain("reading");
  named("Load model 0")?.focus();
  press("End");
  expect(document.activeElement).toBe(named("Load model 499"));
  press("ArrowUp");
  expect(document.activeElement).toBe(named("Load model 498"));
  change({ models: times(499, (i) => listed(`model ${i + 1}`)) });
  expect(document.activeElement).toBe(named("Load model 498"));
  press("Home");
  expect(document.activeElement).toBe(named("Load model 1"));
  const stops = all(".sdw-side-model [tabindex='0']");
  expect(stops).toEqual([named("Load model 1")]);
});

test("models are filtered by every word of their title and kind", () => {
  const models = [
    listed("dreamer", { what: "Stable Diffusion XL" }),
    listed("drawer", { what: "Stable Diffusion 1" }),
    listed("other", { what: "VQ autoencoder" }),
  ];
  change({ models });
  const field = find<HTMLInputElement>(".sdw-side-filter");
  const filter = (words: string) => {
    field.value = words;
    field.dispatchEvent(new Event("input"));
    return all(".sdw-side-model .sdw-side-name").map((one) => one.textContent);
  };
  expect(filter("stable d")).toEqual(["dreamer", "drawer"]);
  expect(el.textContent).toContain("2 of 3 models");
  expect(filter("XL dream")).toEqual(["dreamer"]);
  expect(filter("nothing")).toEqual([]);
  field.focus();
  press("Escape");
  expect(all(".sdw-side-model").length).toBe(3);
});

test("models are loaded and unloaded, and say why not", () => {
  vi.useFakeTimers();
  change({
    models: [
      listed("/models/a", { title: "a" }),
      listed("b", { state: "loaded" }),
      listed("c", { state: "refused", why: "Its header is damaged." }),
      listed("d", { state: "reading" }),
      listed("e", { state: "part", what: "LoRA, rank 4", why: "Use it with model.with_lora('e')" }),
    ],
  });
  const rows = () => all(".sdw-side-model").map((row) => row.textContent);
  expect(rows()[0]).toContain("2 GB · Stable Diffusion 1");
  expect(rows()[2]).toContain("Its header is damaged.");
  expect(rows()[4]).toContain("LoRA, rank 4 · 2 GB");
  expect(all(".sdw-side-note").map((note) => note.textContent)).toContain(
    "4 models · 1 part or addition",
  );
  for (const name of ["Load a", "Unload b", "Why? c", "Reading d", "How? e"]) named(name)?.click();
  expect(model.sent).toEqual([
    { kind: "load", name: "/models/a" },
    { kind: "unload", name: "b" },
  ]);
  expect(vi.mocked(host.explain).mock.calls).toEqual([
    ["c", "Its header is damaged."],
    ["e", "LoRA, rank 4.\nUse it with model.with_lora('e')"],
  ]);
  expect(named("Load a")?.getAttribute("aria-disabled")).toBe("true");
  vi.advanceTimersByTime(60_000); // nothing came of it
  expect(named("Load a")?.getAttribute("aria-disabled")).toBe("false");
  named("Look for models again")?.click();
  expect(model.sent.at(-1)).toEqual({ kind: "models" });
});

// ----------------------------------------------------------------------------------- memory

test("the memory of the device is shown with this kernel's part of it", () => {
  const bar = find("[role=meter]");
  expect(bar.getAttribute("aria-valuetext")).toBe("not known");
  change({ memory: { device: "cuda:0", name: "H100", total: 80e9, free: 60e9, process: 8e9 } });
  expect(bar.getAttribute("aria-valuenow")).toBe("25");
  expect(bar.style.getPropertyValue("--sdw-own")).toBe("10.0%");
  expect(bar.style.getPropertyValue("--sdw-others")).toBe("15.0%");
  expect(text(".sdw-side-memory")).toContain("this kernel 8 GB");
  change({ memory: { device: "cpu", name: "", total: null, free: null, process: null } });
  expect(bar.getAttribute("aria-valuetext")).toBe("not known");
});

test("bytes are said in few digits", () => {
  const said = [0, 999, 1000, 123_456, 999_700, 2.14e9, 80e9, 3e15].map(bytesIn);
  expect(said).toEqual([
    ...["0 B", "999 B", "1 kB", "123 kB", "1 MB", "2.1 GB", "80 GB", "3000 TB"],
  ]);
});

// ----------------------------------------------------------------------------------- images

test("the newest image is the first, and is opened, inserted and dragged", () => {
  change({ images: [image(1), image(2), image(3)] });
  const thumbs = all(".sdw-thumb");
  expect(thumbs.map((one) => one.getAttribute("aria-label"))).toEqual([
    ...["image 3 · seed 7", "image 2 · seed 7", "image 1 · seed 7"],
  ]);
  thumbs[0]?.focus();
  press("End");
  expect(document.activeElement).toBe(thumbs[2]);
  named("Insert the cell that makes it again")?.click();
  expect(host.insert).toHaveBeenCalledWith(expect.objectContaining({ id: 1 }));
  thumbs[1]?.click();
  expect(host.enlarge).toHaveBeenCalledWith(expect.objectContaining({ id: 2 }));

  const point = (type: string, clientX: number) =>
    thumbs[1]?.dispatchEvent(
      new PointerEvent(type, { clientX, clientY: 0, button: 0, buttons: 1, bubbles: true }),
    );
  point("pointerdown", 10);
  point("pointermove", 12);
  expect(host.drag).not.toHaveBeenCalled();
  point("pointermove", 30);
  point("pointermove", 40);
  expect(host.drag).toHaveBeenCalledTimes(1);

  // a new image comes first; those that are known stay, with the focus
  thumbs[1]?.focus();
  change({ images: [image(2), image(3), image(4)] });
  expect(all(".sdw-thumb")[2]).toBe(thumbs[1]);
  expect(document.activeElement).toBe(thumbs[1]);
  expect(urls.size).toBe(3);
});

test("another kernel's images replace those with the same numbers", () => {
  change({ images: [image(1)] });
  const before = find(".sdw-thumb img").getAttribute("src");
  change({ chosen: 2, images: [image(1, { prompt: "another" })] });
  expect(find(".sdw-thumb img").getAttribute("src")).not.toBe(before);
  expect(find(".sdw-thumb").getAttribute("aria-label")).toContain("another");
  expect(urls.size).toBe(1);
});

test("a large image is the thumbnail until the kernel brings the file", () => {
  const shown = document.createElement("div");
  const insert = vi.fn();
  const one = { ...image(3), id: 3, prompt: "a cat" };
  const done = large(model as unknown as AnyModel<Side>, shown, one, host, insert);
  expect(model.sent).toEqual([{ kind: "image", id: 3 }]);
  const img = shown.querySelector("img") as HTMLImageElement;
  const first = img.src;
  model.emit("msg:custom", { kind: "image", id: 2 }, [new Uint8Array([1])]);
  expect(img.src).toBe(first);
  model.emit("msg:custom", { kind: "image", id: 3 }, [new Uint8Array([1])]);
  expect(img.src).not.toBe(first);
  expect(shown.querySelector("a")?.download).toBe("a-cat-seed-7.png");
  shown.querySelector<HTMLElement>("button")?.click();
  expect(insert).toHaveBeenCalledWith(one);
  done();
  expect(urls.size).toBe(0);
});

test("sections open and shut", () => {
  const toggles = all(".sdw-side-toggle");
  expect(toggles.map((one) => one.textContent)).toEqual([
    ...["Queue", "Memory", "Models", "Last images"],
  ]);
  for (const toggle of toggles) {
    const body = el.querySelector(`#${toggle.getAttribute("aria-controls")}`) as HTMLElement;
    expect(body.hidden).toBe(false);
    toggle.click();
    expect([body.hidden, toggle.getAttribute("aria-expanded")]).toEqual([true, "false"]);
  }
});
