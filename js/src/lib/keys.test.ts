import { beforeEach, expect, test, vi } from "vitest";
import { h } from "./dom";
import { keepKeys, roving } from "./keys";

let root: HTMLElement;
let field: HTMLElement;
const notebook = vi.fn();

beforeEach(() => {
  notebook.mockReset();
  field = h("input");
  root = h("div", {}, field);
  const page = h("div", {}, root);
  page.addEventListener("keydown", notebook);
  document.body.replaceChildren(page);
});

function press(target: HTMLElement, key: string, held: KeyboardEventInit = {}) {
  const event = new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true, ...held });
  target.dispatchEvent(event);
  return event;
}

test.each(["d", "b", "ArrowDown", "Enter", "Escape"])("%s stays in the widget", (key) => {
  keepKeys(root, vi.fn());
  press(field, key);
  expect(notebook).not.toHaveBeenCalled();
});

test("Shift-Enter and shortcuts with Ctrl reach the notebook", () => {
  keepKeys(root, vi.fn());
  press(field, "Enter", { shiftKey: true });
  press(field, "s", { ctrlKey: true });
  expect(notebook).toHaveBeenCalledTimes(2);
});

test.each([{ ctrlKey: true }, { metaKey: true }])(
  "Enter with %o runs, and nothing else",
  (held) => {
    const run = vi.fn();
    field.addEventListener("keydown", (event) => event.stopPropagation()); // as text fields do
    keepKeys(root, run);
    const event = press(field, "Enter", held);
    expect(run).toHaveBeenCalledOnce();
    expect(event.defaultPrevented).toBe(true);
    expect(notebook).not.toHaveBeenCalled();
  },
);

test("where nothing can be run, Ctrl-Enter is the notebook's", () => {
  keepKeys(root);
  expect(press(field, "Enter", { ctrlKey: true }).defaultPrevented).toBe(false);
  expect(notebook).toHaveBeenCalledOnce();
});

test("undone, keys pass again", () => {
  keepKeys(root, vi.fn())();
  press(field, "d");
  expect(notebook).toHaveBeenCalledOnce();
});

test("a row of buttons is one tab stop, and arrows move in it", () => {
  const buttons = ["a", "b", "c"].map((name) => h("button", { tabindex: -1 }, name));
  const row = h("div", {}, ...buttons);
  root.append(row);
  const oneTabStop = roving(row);
  oneTabStop();
  const stops = () => buttons.filter((b) => b.tabIndex === 0).map((b) => b.textContent);
  expect(stops()).toEqual(["a"]);
  buttons[0]?.focus();
  press(row, "ArrowRight");
  expect(document.activeElement).toBe(buttons[1]);
  expect(stops()).toEqual(["b"]);
  press(row, "End");
  press(row, "ArrowRight");
  expect(document.activeElement).toBe(buttons[2]);
  press(row, "Home");
  expect(document.activeElement).toBe(buttons[0]);
  oneTabStop(buttons[1]);
  expect(stops()).toEqual(["a"]); // it has the focus
  buttons[0]?.blur();
  oneTabStop(buttons[1]);
  expect(stops()).toEqual(["b"]);
});

test("where the host listens before the widget, as Notebook 7 does, it finds the key's target marked", () => {
  const early = vi.fn((event: Event) => (event.target as Element).outerHTML);
  document.addEventListener("keydown", early, true);
  keepKeys(root, vi.fn());
  keepKeys(field);
  press(field, "d");
  press(field, "Enter", { ctrlKey: true });
  press(field, "Enter", { shiftKey: true });
  press(field, "s", { ctrlKey: true });
  press(document.body, "d");
  const seen = early.mock.results.map(({ value }) => value.includes("data-lm-suppress-shortcuts"));
  expect(seen).toEqual([true, true, false, false, false]);
  expect(document.body.innerHTML).not.toContain("data-lm");
  document.removeEventListener("keydown", early, true);
});
