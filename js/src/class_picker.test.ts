import { afterEach, beforeEach, expect, test } from "vitest";
import { FakeModel } from "../test/model";
import picker from "./class_picker";

const NAMES = Array.from({ length: 120 }, (_, i) => (i === 77 ? "golden retriever" : `class ${i}`));

let model: FakeModel;
let el: HTMLElement;
let undo: () => void;

const find = <T extends HTMLElement>(selector: string) => el.querySelector(selector) as T;
const field = () => find<HTMLInputElement>("input");
const list = () => find("[role=listbox]");
const options = () => [...list().children].map((one) => one.firstChild?.textContent);
const chosen = () => list().querySelector("[aria-selected=true]");

function type(text: string) {
  field().value = text;
  field().dispatchEvent(new Event("input", { bubbles: true }));
}
function press(key: string, more: KeyboardEventInit = {}) {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...more });
  field().dispatchEvent(event);
  return event.defaultPrevented;
}

beforeEach(() => {
  model = new FakeModel({ names: NAMES, name: "", optional: true });
  el = document.createElement("div");
  document.body.replaceChildren(el);
  undo = picker.render({ model, el } as never) as () => void;
});
afterEach(() => undo());

test("what is typed is searched for, and Enter takes the best", () => {
  type("retr");
  expect(options()).toEqual(["golden retriever"]);
  expect(field().getAttribute("aria-activedescendant")).toBe(chosen()?.id);
  expect(field().getAttribute("aria-expanded")).toBe("true");
  expect(find("[role=status]").textContent).toBe("1 class found");
  expect(press("Enter")).toBe(true);
  expect([field().value, list().hidden]).toEqual(["golden retriever", true]);
  expect(model.saved.map(({ name }) => name)).toEqual(["golden retriever"]);
  expect(press("Enter")).toBe(false); // the host's
});

test("a number finds its class", () => {
  type("77");
  press("Enter");
  expect(model.get("name")).toBe("golden retriever");
});

test("arrows open the list of all at the choice, and move in it", () => {
  model.change({ name: "class 3" });
  expect(press("ArrowDown")).toBe(true);
  expect(options()).toHaveLength(121); // and no class
  expect(chosen()?.firstChild?.textContent).toBe("class 3");
  press("PageDown");
  press("ArrowUp");
  press("Enter");
  expect(model.get("name")).toBe("class 10");
  press("ArrowUp");
  press("PageUp");
  press("PageUp");
  expect(chosen()?.textContent).toBe("no class");
  press("Enter");
  expect([model.get("name"), field().value]).toEqual(["", ""]);
});

test("Escape and a text that finds nothing leave the choice", () => {
  model.change({ name: "class 7" });
  type("cl");
  expect(press("Escape")).toBe(true);
  expect([field().value, list().hidden]).toEqual(["class 7", true]);
  expect(press("Escape")).toBe(false);
  type("zebra");
  expect(list().hidden).toBe(true);
  expect(find("[role=status]").textContent).toBe("No class of that name");
  field().dispatchEvent(new Event("blur"));
  expect([field().value, model.get("name")]).toEqual(["class 7", "class 7"]);
  expect(model.saved).toEqual([]);
});

test("a run takes what is typed, and an empty field is no class", () => {
  type("golden");
  field().dispatchEvent(new Event("change", { bubbles: true })); // as the Studio does
  expect(model.get("name")).toBe("golden retriever");
  type("");
  expect(options()).toHaveLength(121);
  field().dispatchEvent(new Event("blur"));
  expect(model.get("name")).toBe("");
});

test("a click takes one, a button takes none; what the kernel says is shown", () => {
  field().click();
  (list().children[5] as HTMLElement).click();
  expect([model.get("name"), field().value]).toEqual(["class 4", "class 4"]);
  find(".sdw-class-clear").click();
  expect(model.get("name")).toBe("");
  expect(find(".sdw-class-clear").hidden).toBe(true);
  model.change({ name: "class 9" });
  expect(field().value).toBe("class 9");
  type("cl");
  model.change({ names: ["a"] }); // while somebody types
  expect(field().value).toBe("cl");
});

test("of a model that always has a class, none is not offered", () => {
  model.change({ optional: false, name: "class 3" });
  expect([field().placeholder, find(".sdw-class-clear").hidden]).toEqual(["choose a class", true]);
  press("ArrowDown");
  expect(options()).toHaveLength(120);
  type("");
  field().dispatchEvent(new Event("blur"));
  expect([field().value, model.get("name")]).toEqual(["class 3", "class 3"]);
});

test("it listens to nothing once it is gone", () => {
  undo();
  expect(model.listening).toBe(0);
});
