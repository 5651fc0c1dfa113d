import { beforeEach, expect, test } from "vitest";
import { MadeView, madeReel, madeRun, type Options } from "../../test/runs";
import { type Frame, reelOf, unpack } from "../lib/reel";
import { matrix } from "./matrix";

// Layer 1 looks at every word, ever more; layer 0 at none.
const options: Options = {
  steps: 5,
  grids: [
    [10, 10],
    [4, 8],
  ],
  labels: ["down 1", "mid"],
  probability: (_, x, _y, { layer, step }) => (layer === 0 ? 0 : 0.1 * step * (x > 0.5 ? 1 : 0)),
};

let view: MadeView;

function show(made: MadeView) {
  view = made;
  const panel = matrix(view);
  document.body.replaceChildren(panel.element);
  view.onChange((what) => panel.update(what));
}

const all = (selector: string) => [...document.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => document.querySelector(selector) as HTMLElement;
const cell = (layer: number, column: number) =>
  one(`.sdw-cell[data-layer="${layer}"][data-column="${column}"]`);
const press = (key: string) =>
  document.activeElement?.dispatchEvent(
    new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }),
  );
const active = () => one(".sdw-cell[data-active]");

beforeEach(() => {
  show(new MadeView(madeReel(options), { word: "cat" }));
});

test("it has a row a layer, named with its resolution, and a cell a step", () => {
  const names = all(".sdw-matrix-name").map((name) => name.textContent);
  expect(names).toEqual(["down 110 × 10", "mid8 × 4"]);
  expect(all(".sdw-matrix-row").map((row) => row.querySelectorAll(".sdw-cell").length)).toEqual([
    5, 5,
  ]);
});

test("cells hold the attention in its strongest tenth", () => {
  const peaks = [0, 1, 2, 3, 4].map((step) => {
    return Number(cell(1, step).style.getPropertyValue("--sdw-peak"));
  });
  expect(peaks).toEqual([0, 0.1, 0.2, 0.3, 0.4].map((peak) => expect.closeTo(peak, 3)));
  expect(cell(1, 3).getAttribute("aria-label")).toBe("mid, step 3: 30\u00a0%");
  expect(one(".sdw-matrix-grid").style.getPropertyValue("--sdw-most")).toBe("0.4000");
});

test("a click opens a cell: its layer and its step alone", () => {
  cell(1, 2).click();
  expect(view.selection).toMatchObject({ layer: 1, step: 2, span: "step" });
  expect(all("[aria-selected=true]")).toEqual([cell(1, 2)]);
  expect(one(".sdw-matrix-cursor").style.getPropertyValue("--sdw-column")).toBe("2");
});

test("arrows move among the cells, Enter opens one", () => {
  const grid = one(".sdw-matrix-grid");
  expect(active()).toBe(cell(0, 0));
  grid.focus();
  press("ArrowRight");
  press("ArrowDown");
  press("ArrowDown");
  expect(active()).toBe(cell(1, 1));
  press("End");
  expect(active()).toBe(cell(1, 4));
  expect(grid.getAttribute("aria-activedescendant")).toBe(cell(1, 4).id);
  expect(one(".sdw-matrix > .sdw-said").textContent).toMatch(/^mid, step 4: /);
  expect(view.selection.layer).toBe(-1);
  press("Enter");
  expect(view.selection).toMatchObject({ layer: 1, step: 4, span: "step" });
  press("Home");
  expect(active()).toBe(cell(1, 0));
});

test("the grids of several views have cells of different names", () => {
  const ids = all(".sdw-cell").map(({ id }) => id);
  const other = matrix(view).element;
  const others = [...other.querySelectorAll(".sdw-cell")].map(({ id }) => id);
  expect(new Set([...ids, ...others]).size).toBe(2 * ids.length);
});

test("a layer's name chooses it for all steps, again or the button all of them", () => {
  const names = all(".sdw-matrix-name");
  names[1]?.click();
  expect(view.selection).toMatchObject({ layer: 1, span: "run" });
  expect(names[1]?.getAttribute("aria-pressed")).toBe("true");
  names[1]?.click();
  expect(view.selection.layer).toBe(-1);
  names[0]?.click();
  one(".sdw-matrix-all").click();
  expect(view.selection).toMatchObject({ layer: -1, span: "run" });
});

test("layers that count without being chosen are marked, and the button says if not all do", () => {
  expect(one(".sdw-matrix-all").textContent).toBe("all layers");
  const reel = madeReel(options);
  const header = reel.header as NonNullable<typeof reel.header>;
  const recipe = { ...header.recipe, layers: [1] };
  show(new MadeView(reelOf({ ...header, recipe }, reel.frames)));
  expect(one(".sdw-matrix-all").textContent).toBe("usual layers");
  expect(all(".sdw-matrix-name").map((name) => name.hasAttribute("data-counts"))).toEqual([
    false,
    true,
  ]);
});

test("the cursor's column follows the step", () => {
  const column = () => one(".sdw-matrix-cursor").style.getPropertyValue("--sdw-column");
  expect(column()).toBe("4");
  view.select({ step: 1 });
  expect(column()).toBe("1");
});

test("pointing at a cell says its numbers", () => {
  cell(1, 4).dispatchEvent(new Event("pointerover", { bubbles: true }));
  const words = one(".sdw-said").textContent;
  expect(words).toBe(
    "mid, step 4: 40\u00a0% in its strongest tenth, 20\u00a0% over the whole image.",
  );
});

test("with no word pinned it is empty and says what to do", () => {
  view.select({ word: "" });
  expect(one(".sdw-matrix-hint").textContent).toBe("Click a word to fill this");
  expect(all(".sdw-cell[data-value]")).toEqual([]);
});

test("steps that come fill their own cells; cells of steps to come open nothing", () => {
  const { header, frames } = madeRun(options);
  const soFar: Frame[] = [];
  show(new MadeView(reelOf(header, soFar), { word: "cat" }));
  expect(all(".sdw-cell")).toHaveLength(10);
  soFar.push(unpack(frames[0]) as Frame, unpack(frames[1]) as Frame);
  view.tell("data");
  const filled = all(".sdw-cell[data-value]").map((each) => each.dataset.column);
  expect(filled).toEqual(["0", "1", "0", "1"]);
  cell(1, 3).click();
  expect(view.selection).toMatchObject({ layer: -1, step: -1 });
});

test("a run of more steps than are kept has a column for each kept one", () => {
  const { header, frames } = madeRun({ ...options, steps: 100 });
  const kept = [0, 50, 99].map((step) => unpack(frames[step]) as Frame);
  show(new MadeView(reelOf(header, kept), { word: "cat" }));
  expect(all(".sdw-matrix-row")[0]?.querySelectorAll(".sdw-cell")).toHaveLength(64);
  const filled = all(".sdw-cell[data-layer='0'][data-value]").map((each) => each.dataset.column);
  expect(filled).toEqual(["0", "32", "63"]);
});
