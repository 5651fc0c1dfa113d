import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel } from "../test/model";
import history from "./history";
import { LOST } from "./lib/kernel";

const file = () => new Uint8Array([1, 2, 3]);
const entry = (id: number, more: object = {}) => ({
  ...{ id, prompt: "a cat", seed: 7, title: `result ${id}`, thumbnail: file() },
  ...{ count: 1, pinned: false, whole: true },
  ...more,
});

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;
let urls: Set<string>;

const find = <T extends HTMLElement>(selector: string) => el.querySelector(selector) as T;
const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const thumbs = () => all(".sdw-thumb");
const button = (words: string) =>
  all(".sdw-acts button").find((one) => one.textContent === words) as HTMLElement;
const press = (element: HTMLElement | undefined, key: string) =>
  element?.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));

beforeEach(() => {
  urls = countedUrls();
  model = new FakeModel({ entries: [], current: -1 });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = history.render({ model, el } as never) as () => void;
});
afterEach(() => {
  undo();
  vi.restoreAllMocks();
});

test("a new result comes into view, and Tab reaches the one on show", () => {
  model.change({ entries: [entry(1), entry(2)], current: 1 });
  const stops = () => thumbs().map((thumb) => thumb.tabIndex);
  expect(stops()).toEqual([0, -1]);
  const strip = find(".sdw-strip");
  Object.defineProperty(strip, "scrollWidth", { value: 500 });
  model.change({ entries: [entry(1), entry(2), entry(3)], current: 3 });
  expect(stops()).toEqual([-1, -1, 0]);
  expect(strip.scrollLeft).toBe(500);
  thumbs()[1]?.focus();
  model.change({ entries: [entry(2), entry(3), entry(4)], current: 4 });
  expect(document.activeElement).toBe(thumbs()[0]);
  expect(stops()).toEqual([0, -1, -1]);
});

test("a thumbnail asks for its result by its id, and is only text", () => {
  model.change({ entries: [entry(4, { prompt: "<b>", title: "<i>" })], current: 4 });
  expect(thumbs()[0]?.getAttribute("aria-current")).toBe("true");
  thumbs()[0]?.click();
  expect(model.sent.at(-1)).toEqual({ kind: "recall", id: 4, other: 0 });
  expect(all("b, i")).toEqual([]);
});

test("the buttons act on the result on show", () => {
  model.change({ entries: [entry(1), entry(2)], current: 2 });
  for (const words of ["Start from it", "Pin", "Delete"]) button(words).click();
  expect(model.sent).toEqual([
    { kind: "use", id: 2, other: 0 },
    { kind: "pin", id: 2, other: 0 },
    { kind: "delete", id: 2, other: 0 },
  ]);
});

test("the focus stays in the history when the last result goes", () => {
  for (const place of [() => thumbs()[0], () => button("Delete")]) {
    model.change({ entries: [entry(1)], current: 1 });
    place()?.focus();
    model.change({ entries: [], current: -1 });
    expect(document.activeElement).toBe(find(".sdw-hint"));
  }
});

test("a kernel that is gone is said once something is asked of it", async () => {
  model.change({ entries: [entry(1), entry(2)], current: 2 });
  model.kernel = false;
  model.emit("comm_live_update");
  await new Promise((done) => setTimeout(done));
  expect(find(".sdw-hint").textContent).toBe("");
  thumbs()[1]?.focus();
  thumbs()[1]?.dispatchEvent(new KeyboardEvent("keydown", { key: "Delete", bubbles: true }));
  expect(find(".sdw-hint").textContent).toBe(LOST);
  expect(document.activeElement).toBe(thumbs()[1]);
  expect(model.sent).toEqual([]);
  model.kernel = true;
  model.emit("comm_live_update");
  await vi.waitFor(() => expect(find(".sdw-hint").textContent).toBe(""));
});

test("without a result on show the buttons do nothing", () => {
  model.change({ entries: [entry(1)], current: -1 });
  button("Delete").click();
  expect(button("Delete").getAttribute("aria-disabled")).toBe("true");
  expect(model.sent).toEqual([]);
});

test("a batch and a pin are said and shown", () => {
  model.change({ entries: [entry(1, { count: 4, pinned: true })], current: 1 });
  expect(thumbs()[0]?.getAttribute("aria-label")).toContain("4 images, pinned");
  expect(thumbs()[0]?.textContent).toBe("4");
  expect(button("Unpin")).toBeDefined();
});

test("keys delete and pin a thumbnail, and the focus goes to the next", () => {
  model.change({ entries: [entry(1), entry(2), entry(3)], current: 3 });
  thumbs()[0]?.focus();
  press(thumbs()[0], "p");
  press(thumbs()[0], "Delete");
  expect(model.sent.map(({ kind, id }) => [kind, id])).toEqual([
    ["pin", 1],
    ["delete", 1],
  ]);
  model.change({ entries: [entry(2), entry(3)] });
  expect((document.activeElement as HTMLElement).dataset.id).toBe("2");
});

test("two results are compared: the one on show and the next chosen", () => {
  model.change({ entries: [entry(1), entry(2, { whole: false }), entry(3)], current: 3 });
  button("Compare…").click();
  expect(button("Compare…").getAttribute("aria-pressed")).toBe("true");
  expect(thumbs().map((one) => one.hasAttribute("data-out"))).toEqual([false, true, true]);
  thumbs()[1]?.click(); // its steps are not kept
  expect(model.sent).toEqual([]);
  thumbs()[0]?.click();
  expect(model.sent).toEqual([{ kind: "compare", id: 3, other: 1 }]);
  thumbs()[0]?.click();
  expect(model.sent.at(-1)).toEqual({ kind: "recall", id: 1, other: 0 });
});

test("a result whose steps are gone cannot be compared, and says so", () => {
  model.change({ entries: [entry(1, { whole: false }), entry(2)], current: 1 });
  button("Compare…").click();
  expect(button("Compare…").getAttribute("aria-disabled")).toBe("true");
  expect(button("Compare…").title).toContain("no longer kept");
});

test("enlarged, every image of a batch is there, and any may be started from", () => {
  model.change({ entries: [entry(1, { count: 2 })], current: 1 });
  button("Enlarge").click();
  expect(model.sent.at(-1)).toEqual({ kind: "open", id: 1, other: 0 });
  expect(all("dialog img")).toHaveLength(1); // the thumbnail, until they come
  const images = [
    { type: "image/png", label: "first" },
    { type: "image/png", label: "second" },
  ];
  model.emit("msg:custom", { kind: "images", id: 9, images }, [file(), file()]);
  expect(all("dialog img")).toHaveLength(1);
  model.emit("msg:custom", { kind: "images", id: 1, images }, [file(), file()]);
  expect(all("dialog img").map((one) => one.getAttribute("alt"))).toEqual(["first", "second"]);
  all("dialog figure button")[1]?.click();
  expect(model.sent.at(-1)).toEqual({ kind: "use", id: 1, other: 1 });
  expect(find<HTMLDialogElement>("dialog")?.open ?? false).toBe(false);
});

test("messages that are not understood change nothing", () => {
  const before = el.innerHTML;
  for (const message of [null, 5, {}, { kind: "images" }, { kind: "images", id: 1, images: 3 }]) {
    model.emit("msg:custom", message, []);
  }
  expect(el.innerHTML).toBe(before);
});

test("removed, it listens to nothing and keeps no address", () => {
  model.change({ entries: [entry(1)], current: 1 });
  button("Enlarge").click();
  undo();
  expect([model.listening, urls.size]).toEqual([0, 0]);
});
