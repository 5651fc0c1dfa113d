// @vitest-environment happy-dom
import { expect, test, vi } from "vitest";
import { inkOn, palette } from "./palette";

const NAMES = ["blue", "cat", "catfish", "bobcat", "dog"];
const COLOURS = NAMES.map((_, i) => [i, i, i] as const);

test("ink can be read on every colour", () => {
  expect([inkOn([255, 255, 0]), inkOn([0, 0, 160]), inkOn([250, 250, 250])]).toEqual([
    "#000",
    "#fff",
    "#000",
  ]);
});

test("classes are chosen by keys and by clicks", () => {
  const pick = vi.fn();
  const made = palette("Class", pick);
  document.body.append(made.element);
  made.show(NAMES, COLOURS, 0);
  const field = made.element.querySelector("input") as HTMLInputElement;
  const options = () => [...made.element.querySelectorAll("[role=option]")];
  const press = (key: string) =>
    field.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
  expect(options().map((each) => each.textContent)).toEqual(NAMES);
  expect(options()[0]?.getAttribute("aria-selected")).toBe("true");
  press("ArrowDown");
  press("Enter");
  expect(pick).toHaveBeenLastCalledWith(1);
  field.value = "cat";
  field.dispatchEvent(new Event("input"));
  expect(options()).toHaveLength(3);
  press("ArrowDown");
  expect(field.getAttribute("aria-activedescendant")).toBe(options()[1]?.id);
  press("Enter");
  expect(pick).toHaveBeenLastCalledWith(2);
  expect([field.value, options().length]).toEqual(["", 5]); // all are there again
  (options()[4] as HTMLElement).click();
  expect(pick).toHaveBeenLastCalledWith(4);
  made.show(NAMES, COLOURS, 4);
  expect(options()[4]?.getAttribute("aria-selected")).toBe("true");
});
