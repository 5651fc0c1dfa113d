import { beforeEach, expect, test } from "vitest";
import { imageHeader, MadeView, madeReel } from "../../test/runs";
import { reelOf } from "../lib/reel";
import type { ImageHeader } from "../lib/view";
import { tokens } from "./tokens";

let view: MadeView;

function show(...pictures: ImageHeader[]) {
  const reel = madeReel();
  const header = reel.header as NonNullable<typeof reel.header>;
  view = new MadeView(reelOf({ ...header, pictures }, reel.frames));
  const panel = tokens(view);
  document.body.replaceChildren(panel.element);
  view.onChange((what) => panel.update(what));
}

const all = (selector: string) => [...document.querySelectorAll<HTMLElement>(selector)];
const one = (selector: string) => document.querySelector(selector) as HTMLElement;

beforeEach(() => {
  show(imageHeader("a telescope ,"), { ...imageHeader("one dog"), cut: " and <b>many</b> more" });
});

test("there is a box for every slot, in order", () => {
  const kinds = all(".sdw-group").map((group) => group.dataset.kind);
  expect(kinds).toEqual(["start", "word", "word", "piece", "end", "padding"]);
  const numbers = all(".sdw-slot small").map((number) => Number(number.textContent));
  expect(numbers).toEqual([0, 1, 2, 3, 4, 5]);
  expect(all(".sdw-slot, .sdw-slot-empty")).toHaveLength(77);
});

test("pieces of one word are joined", () => {
  const pieces = [...one(".sdw-group[data-word=telescope]").querySelectorAll("bdi")];
  expect(pieces.map((piece) => piece.textContent)).toEqual(["tele", "scope"]);
  expect(one(".sdw-group[data-word=telescope]").title).toBe("telescope, slots 2 to 3");
});

test("it counts the tokens, without start and end", () => {
  expect(one(".sdw-hint-quiet").textContent).toBe("4 of 75 tokens; 1 of 2 words take several");
});

test("words are pointed at and pinned here, too; a piece of no word is no button", () => {
  one(".sdw-group[data-word='<padding>']").dispatchEvent(
    new Event("pointerover", { bubbles: true }),
  );
  expect(view.hover.word).toBe("<padding>");
  one(".sdw-group[data-word=telescope]").click();
  expect(view.selection.word).toBe("telescope");
  expect(all("[aria-pressed=true]")).toEqual([one(".sdw-group[data-word=telescope]")]);
  expect(one("[data-kind=piece]").tagName).toBe("SPAN");
});

test("what was cut is said, as text, for the image on show", () => {
  expect(one(".sdw-tokens").hasAttribute("data-cut")).toBe(false);
  view.select({ picture: 1 });
  expect(one(".sdw-tokens").hasAttribute("data-cut")).toBe(true);
  expect(one(".sdw-cut").textContent).toBe(
    "cut, so the network never saw it: and <b>many</b> more",
  );
  expect(all(".sdw-slot bdi").map((piece) => piece.textContent)).toEqual([
    "start",
    "one",
    "dog",
    "end",
  ]);
});

test("without a prompt there are no slots", () => {
  show();
  expect(all(".sdw-group")).toEqual([]);
  expect(one(".sdw-hint-quiet").textContent).toBe("");
});
