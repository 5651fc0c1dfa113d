import { beforeEach, expect, test } from "vitest";
import { leave, take } from "./handover";

beforeEach(() => localStorage.clear());

test("what one tab leaves, another takes once", () => {
  leave("a.ipynb", "http://server/");
  expect(take("b.ipynb", "http://server/")).toBe(false);
  expect(take("a.ipynb", "http://other/")).toBe(false);
  expect(take("a.ipynb", "http://server/")).toBe(true);
  expect(take("a.ipynb", "http://server/")).toBe(false);
});

test("what was left long ago is not taken", () => {
  leave("a.ipynb", "http://server/", 0);
  expect(take("a.ipynb", "http://server/", 200_000)).toBe(false);
  expect(localStorage).toHaveLength(0);
});

test.each(["", "{}", '"a.ipynb"', '["http://server/", "a.ipynb", "now"]', "not JSON"])(
  "%s is nothing that was left",
  (text) => {
    localStorage.setItem("sdwidgets:run", text);
    expect(take("a.ipynb", "http://server/")).toBe(false);
  },
);
