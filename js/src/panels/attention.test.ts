import { beforeEach, expect, test } from "vitest";
import { MadeView, madeReel, madeRun, type Options } from "../../test/runs";
import { type Frame, reelOf, unpack } from "../lib/reel";
import type { Panel, View } from "../lib/view";
import { attention, heatOverlay } from "./attention";

// Token t is looked at around x = t / 10.
const options: Options = {
  steps: 4,
  grids: [
    [4, 4],
    [8, 8],
  ],
  prompts: ["a cat, by a sitting car", "one dog"],
  probability: (token, x, y) => Math.max(0.01, 0.5 - Math.abs(x - token / 10)) * (1 - y / 2),
};

let view: MadeView;
let panel: Panel;
let over: Panel;

function show(made: MadeView) {
  view = made;
  panel = attention(view);
  over = heatOverlay(view);
  document.body.replaceChildren(panel.element, over.element);
  view.onChange((what) => {
    panel.update(what);
    over.update(what);
  });
}

const all = (selector: string) => [...document.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => document.querySelector(selector) as HTMLElement;
const text = (selector: string) => one(selector).textContent;
const chip = (word: string) => one(`.sdw-chip[data-word="${word}"]`);
const pressed = () => all(".sdw-chip[aria-pressed=true]").map((each) => each.textContent);
const shown = () => over.element.dataset.word;
const maps = () => all(".sdw-map-figure").map((each) => each.dataset.word);
const fire = (target: HTMLElement, type: string) =>
  target.dispatchEvent(new Event(type, { bubbles: true }));
function press(target: HTMLElement, key: string, held: KeyboardEventInit = {}) {
  target.focus();
  target.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...held }),
  );
}

beforeEach(() => {
  show(new MadeView(madeReel(options)));
});

test("the prompt is shown in order, its words as buttons", () => {
  const words = [...one(".sdw-attention > .sdw-chips").children].map((each) => each.textContent);
  expect(words).toEqual(["a", "cat,", "by", "a", "sitting", "car"]);
  expect(all(".sdw-chip-quiet").map((each) => each.textContent)).toEqual([
    "start",
    "end",
    "padding",
  ]);
});

test("what stands between words is text", () => {
  const reel = madeReel(options);
  const header = reel.header as NonNullable<typeof reel.header>;
  const [picture] = header.pictures;
  const words = [{ text: "<b>", tokens: [1], start: 3, end: 6 }];
  const pictures = [{ ...(picture as NonNullable<typeof picture>), prompt: "🐈 (<b>)", words }];
  show(new MadeView(reelOf({ ...header, pictures }, reel.frames)));
  const row = one(".sdw-attention > .sdw-chips");
  expect([...row.children].map((each) => each.textContent)).toEqual(["🐈 (", "<b>"]);
  expect(all("b")).toEqual([]);
});

test("pointing at a word shows its map, and leaving shows the pinned one again", () => {
  expect(shown()).toBe("");
  fire(chip("car"), "pointerover");
  expect(shown()).toBe("car");
  expect(view.selection.word).toBe("");
  fire(one(".sdw-chips"), "pointerleave");
  expect(shown()).toBe("");
  chip("by").click();
  fire(chip("car"), "pointerover");
  expect(shown()).toBe("car");
  fire(one(".sdw-chips"), "pointerleave");
  expect(shown()).toBe("by");
});

test("a click pins a word, all its occurrences, and another click lets go of it", () => {
  chip("a").click();
  expect(view.selection.word).toBe("a");
  expect(pressed()).toEqual(["a", "a"]);
  chip("a").click();
  expect(pressed()).toEqual([]);
  expect(shown()).toBe("");
});

test("a second word stands beside the first", () => {
  chip("by").click();
  chip("car").dispatchEvent(new MouseEvent("click", { bubbles: true, shiftKey: true }));
  expect(view.selection).toMatchObject({ word: "by", other: "car" });
  expect(maps()).toEqual(["by", "car"]);
  expect(all(".sdw-map-word").map((each) => each.textContent)).toEqual(["by", "car"]);
  chip("by").click(); // the second moves up
  expect(view.selection).toMatchObject({ word: "car", other: "" });
});

test("the key b compares, Escape lets go of everything", () => {
  press(chip("by"), "b");
  expect(view.selection).toMatchObject({ word: "by", other: "" });
  press(chip("car"), "b");
  expect(view.selection).toMatchObject({ word: "by", other: "car" });
  press(chip("car"), "b");
  expect(view.selection.other).toBe("");
  press(chip("car"), "Escape");
  expect(view.selection).toMatchObject({ word: "", other: "" });
});

test("words are one tab stop, in which arrows move", () => {
  const row = one(".sdw-attention > .sdw-chips");
  const stops = () => [...row.querySelectorAll("button")].map((each) => each.tabIndex);
  expect(stops()).toEqual([0, -1, -1, -1, -1, -1]);
  press(chip("a"), "ArrowRight");
  expect(document.activeElement?.textContent).toBe("cat,");
  press(document.activeElement as HTMLElement, "End");
  expect(document.activeElement?.textContent).toBe("car");
});

test("the select names the second word, or the first where there is none", () => {
  const select = one(".sdw-compare-with select") as HTMLSelectElement;
  expect([...select.options].map((option) => option.value).slice(0, 3)).toEqual(["", "a", "cat,"]);
  const choose = (word: string) => {
    select.value = word;
    fire(select, "change");
  };
  choose("car");
  expect(view.selection).toMatchObject({ word: "car", other: "" });
  choose("<end>");
  expect(view.selection).toMatchObject({ word: "car", other: "<end>" });
  expect(maps()).toEqual(["car", "<end>"]);
});

test("a spot says the same of a word as its map", () => {
  const flat = (token: number) => (token === 2 ? 0.3 : 0.1); // the same everywhere
  for (const [against, car, whole] of [
    ["none", "30 %", "of all attention here"],
    ["words", "75 %", "of the attention to words here"],
  ] as const) {
    const { header, frames } = madeReel({ prompts: ["a cat"], probability: flat });
    if (header === undefined) throw new Error("no header");
    const recipe = { ...header.recipe, against };
    show(new MadeView(reelOf({ ...header, recipe }, frames), { word: "cat" }));
    view.peek({ cell: { x: 0.5, y: 0.5 } });
    expect(text(".sdw-rank-word")).toBe("cat");
    expect(text(".sdw-rank-share")).toBe(car);
    expect(text(".sdw-map-range")).toBe(`all ${car}`);
    expect(text(".sdw-rank-of")).toBe(whole);
  }
});

test("a spot's words are ranked in five rows; until then a hint has their place", () => {
  expect(one(".sdw-ranking").dataset.empty).toBe("true");
  expect(text(".sdw-rank-hint")).toBe("Point at the image to see which words it took from");
  expect(all(".sdw-ranking li")).toHaveLength(5);
  view.peek({ cell: { x: 0.75, y: 0.1 } });
  expect(one(".sdw-ranking").dataset.empty).toBe("false");
  expect(text(".sdw-rank-word")).toBe("car"); // token 7
  expect(text(".sdw-rank-share")).toMatch(/^\d+ %$/);
  view.peek({});
  expect(one(".sdw-ranking").dataset.empty).toBe("true");
  expect(all(".sdw-ranking li")).toHaveLength(5);
});

test("on the map arrow keys point at a spot, Escape at none", () => {
  press(over.element, "ArrowRight");
  press(over.element, "ArrowUp");
  expect(view.hover.cell).toEqual({ x: 0.5625, y: 0.4375 });
  expect(one(".sdw-heat-spot").style.left).toBe("56.25%");
  press(over.element, "Escape");
  expect(view.hover.cell).toBeUndefined();
  expect(one(".sdw-heat-spot").hidden).toBe(true);
});

test("the controls set how maps are shown, and show what was set elsewhere", () => {
  const [opacity] = all(".sdw-field input[type=range]") as HTMLInputElement[];
  const [contour] = all(".sdw-field input[type=checkbox]") as HTMLInputElement[];
  const [colours] = all("[aria-label='colours of the maps']") as HTMLSelectElement[];
  if (!opacity || !contour || !colours) throw new Error("no controls");
  opacity.value = "0.3";
  fire(opacity, "input");
  contour.checked = true;
  fire(contour, "change");
  colours.value = "viridis";
  fire(colours, "change");
  one(".sdw-attention-controls [data-value=step]").click();
  const chosen = { opacity: 0.3, contour: true, colormap: "viridis", span: "step" };
  expect(view.selection).toMatchObject(chosen);
  expect(over.element.style.getPropertyValue("--sdw-opacity")).toBe("0.3");
  expect(over.element.dataset.contour).toBe("true");
  view.select({ opacity: 0.9, contour: false, colormap: "grey", span: "run" });
  expect([opacity.value, contour.checked, colours.value]).toEqual(["0.9", false, "grey"]);
});

test("it says what the maps are the mean of", () => {
  expect(text(".sdw-said")).toBe("mean of 4 of 4 steps, 2 of 2 layers; shares of all attention");
  view.select({ span: "step", step: 2, layer: 1 });
  expect(text(".sdw-said")).toBe("step 2, down 2; shares of all attention");
});

test("a map's values are said, also of one that is the same everywhere", () => {
  chip("car").click();
  expect(text(".sdw-map-range")).toMatch(/^[\d.]+ to \d+ %$/);
  show(new MadeView(madeReel({ prompts: ["a cat"] }), { word: "cat" }));
  expect(text(".sdw-map-range")).toBe("all 50 %");
  const probability = (_: number, x: number) => 1e-4 * x;
  show(new MadeView(madeReel({ prompts: ["a cat"], probability }), { word: "cat" }));
  expect(text(".sdw-map-range")).toBe("under 0.1 %");
  const rising = (_: number, x: number) => (x < 0.5 ? 1e-4 : 0.01);
  show(new MadeView(madeReel({ prompts: ["a cat"], probability: rising }), { word: "cat" }));
  expect(text(".sdw-map-range")).toBe("0 to 1.0 %");
});

test("a run that goes on is shown as far as it has come, and the focus stays", () => {
  const { header, frames } = madeRun(options);
  const unpacked = frames.map((each) => unpack(each) as Frame);
  const soFar: Frame[] = [];
  show(new MadeView(reelOf(header, soFar)));
  chip("car").click();
  expect(shown()).toBe("");
  chip("car").focus();
  const focused = document.activeElement;
  for (const [i, frame] of unpacked.entries()) {
    soFar.push(frame);
    view.tell("data");
    expect(shown()).toBe("car");
    expect(text(".sdw-said")).toContain(`mean of ${i + 1} of 4 steps`);
  }
  expect(document.activeElement).toBe(focused);
});

test("another image of the batch has its own words", () => {
  view.select({ picture: 1 });
  const row = one(".sdw-attention > .sdw-chips");
  expect([...row.children].map((each) => each.textContent)).toEqual(["one", "dog"]);
  chip("dog").click();
  expect(shown()).toBe("dog");
});

test("where nothing was recorded it says how to", () => {
  show(new MadeView(madeReel({ ...options, grids: [] })));
  expect(panel.element.dataset.recorded).toBe("false");
  expect(text(".sdw-unrecorded")).toContain("attention=True");
  expect(over.element.tabIndex).toBe(-1);
});

test("before a run it has its place and says nothing wrong", () => {
  show(new MadeView(reelOf(undefined, [])));
  expect(panel.element.dataset.recorded).toBe("true");
  expect(text(".sdw-attention > .sdw-chips")).toBe("The prompt appears here");
  expect(shown()).toBe("");
  expect(maps()).toEqual(["", ""]);
});

test("hovering does nothing to the selection", () => {
  const before = view.selection;
  fire(chip("car"), "pointerover");
  view.peek({ ...(view as View).hover, cell: { x: 0, y: 0 } });
  expect(view.selection).toBe(before);
});
