import { expect, test } from "vitest";
import { placeOf, ratio } from "./snr";

test("a ratio is said in words, of powers", () => {
  expect(ratio(20)).toBe("100 times more image than noise");
  expect(ratio(-3)).toBe("2.0 times more noise than image");
  expect(ratio(0)).toBe("as much image as noise");
  expect(ratio(40)).toBe("10,000 times more image than noise");
});

test("levels go from left to right, and 0 dB is in the middle", () => {
  const [first, last] = [placeOf({ t: 0, snr_db: 40 }, 40), placeOf({ t: 999, snr_db: 0 }, 40)];
  expect(first).toEqual({ x: 0, y: 0 });
  expect(last.x).toBe(420);
  expect(last.y).toBe(45);
});
