import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { FakeModel, placeAtOnce } from "../test/model";
import { matches, typed } from "./lib/completion";
import words from "./words";

let model: FakeModel;
let root: HTMLElement;
let el: HTMLElement;
let field: HTMLTextAreaElement;
let heard: string[]; // what the field's owner hears
let undo: () => void;

const all = (selector: string) => [...el.querySelectorAll<HTMLElement>(selector)];
const find = (selector: string) => el.querySelector(selector) as HTMLElement;
const button = (text: string) => all("button").find((one) => one.textContent === text);
const offered = () => all("[role=option]").map((one) => one.textContent);
const isOffering = () => !find("[role=listbox]").hidden;

/** Types at the end of the field, as a person does. */
function type(text: string) {
  field.focus();
  field.value = text;
  field.setSelectionRange(text.length, text.length);
  field.dispatchEvent(new Event("input", { bubbles: true }));
}
function press(key: string) {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true });
  field.dispatchEvent(event);
  return event.defaultPrevented;
}

beforeEach(async () => {
  placeAtOnce();
  model = new FakeModel({
    count: "3 of 75 tokens",
    groups: { things: ["cat", "car", "cake"], colors: ["gray", "green"] },
    examples: ["a cat left of a car"],
    unknown: [],
  });
  root = document.createElement("div");
  root.className = "sdw-studio";
  root.innerHTML = '<div class="sdw-prompt"><textarea></textarea></div>';
  field = root.querySelector("textarea") as HTMLTextAreaElement;
  heard = [];
  field.addEventListener("input", () => heard.push(field.value));
  el = document.createElement("div");
  root.append(el);
  document.body.replaceChildren(root);
  undo = words.render({ model, el } as never) as () => void;
  await Promise.resolve();
});
afterEach(() => {
  undo();
  vi.unstubAllGlobals();
});

test("the words are listed when asked for, and not of a model that knows any", () => {
  const more = button("Words this model knows") as HTMLElement;
  expect([find(".sdw-words-list").hidden, more.getAttribute("aria-expanded")]).toEqual([
    true,
    "false",
  ]);
  more.click();
  expect([find(".sdw-words-list").hidden, more.getAttribute("aria-expanded")]).toEqual([
    false,
    "true",
  ]);
  expect(all(".sdw-words-title").map((one) => one.textContent)).toEqual([
    "try",
    "things",
    "colors",
  ]);
  model.change({ groups: {}, examples: [] });
  expect([more.hidden, find(".sdw-words-list").hidden]).toEqual([true, true]);
  expect(find(".sdw-count").textContent).toBe("3 of 75 tokens");
});

test("a word goes where the caret is, an example in place of everything", () => {
  field.value = "a on blue";
  field.setSelectionRange(1, 1);
  button("cake")?.click();
  expect(field.value).toBe("a cake on blue");
  expect(heard).toEqual(["a cake on blue"]);
  button("a cat left of a car")?.click();
  expect(field.value).toBe("a cat left of a car");
});

test("a word that is not known is marked, and replaced by the nearest with a click", () => {
  field.value = "a grey greyhound, grey";
  model.change({
    unknown: [
      { word: "grey", nearest: "gray" },
      { word: "<b>x", nearest: "" },
    ],
  });
  expect(all(".sdw-unknown-word").map((one) => one.textContent)).toEqual(["<b>x"]);
  button("grey → gray")?.click();
  expect(field.value).toBe("a gray greyhound, gray");
  model.change({ unknown: [] });
  expect(find(".sdw-unknown").textContent).toBe("");
});

test("while a word is typed, those that begin so are offered; arrows choose, Tab takes", () => {
  type("a ca");
  expect([isOffering(), offered()]).toEqual([true, ["cat", "car", "cake"]]);
  expect(press("Tab")).toBe(false); // nothing is chosen: it goes on
  press("ArrowDown");
  press("ArrowDown");
  const option = all("[role=option]")[1];
  expect(option?.getAttribute("aria-selected")).toBe("true");
  expect(field.getAttribute("aria-activedescendant")).toBe(option?.id);
  expect(press("Tab")).toBe(true);
  expect([field.value, isOffering()]).toEqual(["a car ", false]);
  expect(field.hasAttribute("aria-activedescendant")).toBe(false);
});

test("Enter takes what is chosen, and is a new line otherwise; Escape ends it", () => {
  type("gr");
  expect(press("Enter")).toBe(false);
  press("ArrowUp");
  expect(press("Enter")).toBe(true);
  expect(field.value).toBe("green ");
  type("ca");
  expect([press("Escape"), isOffering()]).toEqual([true, false]);
  expect(press("Escape")).toBe(false); // the host's
});

test("a click takes an offered word", () => {
  type("a big ca");
  all("[role=option]")[2]?.dispatchEvent(new Event("pointerdown", { cancelable: true }));
  expect(field.value).toBe("a big cake ");
});

test.each([
  ["a cat", []], // it is a word
  ["a c", []], // of one letter there are too many
  ["xyz", []],
  ["a CA", ["cat", "car", "cake"]],
])("after %j it offers %j", (text, wanted) => {
  type(text);
  expect(offered().length > 0 && isOffering() ? offered() : []).toEqual(wanted);
});

test("inside a word nothing is offered", () => {
  field.value = "cake";
  field.setSelectionRange(2, 2);
  expect(typed(field)).toBe("");
  expect(matches(["cat", "cat", "cake"], "ca")).toEqual(["cat", "cake"]);
});

test("the word that is being typed is not marked before it has ended", () => {
  type("a skateb");
  model.change({ unknown: [{ word: "skateb", nearest: "" }] });
  expect(all(".sdw-unknown-word")).toHaveLength(0);
  field.blur();
  expect(all(".sdw-unknown-word")).toHaveLength(1);
});

test("text that a button puts in offers nothing", () => {
  field.value = "ca ";
  field.blur();
  button("car")?.click();
  expect(isOffering()).toBe(false);
});

test("removed, it leaves the field as it was, and listens to nothing", () => {
  type("ca");
  undo();
  expect(model.listening).toBe(0);
  for (const name of ["autocomplete", "controls", "activedescendant"]) {
    expect(field.hasAttribute(`aria-${name}`)).toBe(false);
  }
  expect(press("ArrowDown")).toBe(false);
});
