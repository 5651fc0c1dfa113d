import { expect, test } from "vitest";
import { h, write } from "./dom";
import { duration, fileName, level } from "./words";

test.each([
  [0.042, "0.04 s"],
  [1.234, "1.2 s"],
  [47.6, "48 s"],
  [200, "3 min 20 s"],
  [7300, "2 h 1 min"],
  [Number.NaN, "–"],
])("%d seconds read as %s", (seconds, words) => {
  expect(duration(seconds)).toBe(words);
});

test("noise levels have two decimals, large ones none", () => {
  expect(level(1.7312)).toBe("1.73");
  expect(level(157.4)).toBe("157");
});

test("a file is named after the prompt and the seed, in plain letters", () => {
  expect(fileName("A cät/left ../of?", 7, "image/png")).toBe("a-ca-t-left-of-seed-7.png");
  expect(fileName("猫", undefined, "image/jpeg")).toBe("image.jpg");
});

test("text given to an element stays text", () => {
  const element = h("p", {}, "<img src=x onerror=alert(1)>");
  write(element, "<script>alert(1)</script>");
  expect(element.childElementCount).toBe(0);
  expect(element.textContent).toBe("<script>alert(1)</script>");
});
