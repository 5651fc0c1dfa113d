import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { countedUrls, FakeModel, lose } from "../test/model";
import neighbours from "./neighbours";

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;
let urls: Set<string>;

const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const thumbs = () => all(".sdw-thumb");
const button = (words: string) => all("button").find((one) => one.textContent === words);
const item = (id: number, on: boolean) => ({ id, on, note: "8 x 8 pixels", thumbnail: [1] });

beforeEach(() => {
  vi.useFakeTimers();
  urls = countedUrls();
  const items = [item(1, true), item(2, false), item(5, true)];
  model = new FakeModel({ items, most: 4, results: 0, problem: "" });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = neighbours.render({ model, el } as never) as () => void;
});
afterEach(() => {
  undo();
  expect([model.listening, urls.size]).toEqual([0, 0]);
  vi.useRealTimers();
  vi.restoreAllMocks();
});

test("those that are on have numbers, as their heat maps do", () => {
  expect(thumbs().map((one) => one.getAttribute("aria-pressed"))).toEqual([
    "true",
    "false",
    "true",
  ]);
  expect(thumbs().map((one) => one.textContent)).toEqual(["1", "", "2"]);
  expect(el.textContent).toContain("2 of at most 4");
  expect(thumbs().map((one) => one.tabIndex)).toEqual([0, -1, -1]);
});

test("a press switches, Delete removes, and the focus stays in the row", () => {
  thumbs()[1]?.click();
  thumbs()[0]?.click();
  expect(model.sent).toEqual([
    { kind: "use", id: 2, on: true },
    { kind: "use", id: 1, on: false },
  ]);
  thumbs()[0]?.focus();
  thumbs()[0]?.dispatchEvent(new KeyboardEvent("keydown", { key: "Delete", bubbles: true }));
  expect(model.sent.at(-1)).toEqual({ kind: "drop", id: 1 });
  model.change({ items: [item(2, false), item(5, true)] });
  expect(document.activeElement).toBe(thumbs()[0]);
});

test("all files of a drop are sent, one after the other", async () => {
  const drop = new Event("drop", { bubbles: true, cancelable: true });
  const files = [new File(["one"], "a.png"), new File(["two"], "b.png")];
  Object.assign(drop, { dataTransfer: { types: ["Files"], files } });
  el.dispatchEvent(drop);
  await vi.waitFor(() => expect(model.sent).toHaveLength(2));
  expect(model.sent.map(({ kind, name }) => [kind, name])).toEqual([
    ["file", "a.png"],
    ["file", "b.png"],
  ]);
  model.emit("msg:custom", { kind: "taken" });
  expect(el.querySelector("[role=status]")?.textContent).toBe("");
});

test("the last result can be added, all can be switched off, a problem is said", async () => {
  expect(button("Add the last result")?.hidden).toBe(true);
  model.change({ results: 1, problem: "Too many" });
  button("Add the last result")?.click();
  button("All off")?.click();
  expect(model.sent).toEqual([{ kind: "last" }, { kind: "off" }]);
  expect(el.querySelector("[role=alert]")?.textContent).toBe("Too many");
  model.change({ items: [], problem: "" });
  expect(el.textContent).toContain("none yet, at most 4");
  await lose(model);
  button("Add the last result")?.click();
  expect(el.querySelector("[role=alert]")?.textContent).toContain("The kernel has ended");
});
