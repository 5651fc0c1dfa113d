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

test("what is no text, such as neighbours, fills all of its slots", () => {
  show({ ...imageHeader("1 2"), slots: 2 });
  expect(one(".sdw-hint-quiet").textContent).toBe("2 tokens; every word is one token");
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

test("weights, learnt words and chunks are told apart", () => {
  const picture = imageHeader("a toy dog");
  show({
    ...picture,
    pieces: ["a", "toy", "", "dog"],
    words: [
      { text: "a", tokens: [1], start: 0, end: 1 },
      { text: "toy", tokens: [2, 3], start: 3, end: 6 },
      { text: "dog", tokens: [4], start: 12, end: 15 },
    ],
    slots: 154,
    places: [0, 1, 2, 3, 78, 79],
    weights: [1, 1.3, 1.3, 1],
    learnt: ["", "toy", "toy", ""],
    padding: ["<|endoftext|>", "!"],
  });
  const toy = one(".sdw-group[data-word=toy]");
  expect(toy.title).toBe("toy, slots 2 to 3, a learnt word of 2 vectors, weight 1.3");
  expect(toy.hasAttribute("data-learnt")).toBe(true);
  expect(toy.querySelector(".sdw-weight")?.textContent).toBe("×1.3");
  expect(one(".sdw-group[data-word=dog]").title).toBe("dog, slot 78");
  expect(all(".sdw-chunk").map((chunk) => chunk.textContent)).toEqual(["chunk 2"]);
  expect(all(".sdw-slot-empty")).toHaveLength(154 - 80);
  expect(one(".sdw-hint-quiet").textContent).toBe(
    "4 tokens in 2 chunks; 1 of 3 words take several; read by 2 text encoders, which fill up with <|endoftext|> and !",
  );
});
