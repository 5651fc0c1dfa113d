import { expect, test } from "vitest";
import { begins, picture } from "./beginning";

test("the last steps are made, in whole steps, as in Python", () => {
  const levels = [10, 5, 2, 1, 0];
  expect(begins(4, 1, levels)).toEqual({ at: 0, words: "from step 1 of 4, sigma 10" });
  expect(begins(4, 0.6, levels)).toEqual({ at: 2, words: "from step 3 of 4, sigma 2" });
  expect(begins(4, 0.6, [])).toEqual({ at: 2, words: "from step 3 of 4" });
  expect(begins(4, 0.05, levels)).toEqual({ at: -1, words: "none of 4 steps is left" });
  expect(begins(0, 0.6, [])).toEqual({ at: -1, words: "" });
});

test("without noise it is the image, and with much of it the noise", () => {
  const clean = new Uint8Array([128, 160, 96]);
  const noise = new Uint8Array([160, 128, 128]);
  const at = (sigma: number) => [...picture(clean, noise, [0, 0, 0.5], sigma)];
  expect(at(0)).toEqual([128, 255, 64, 255]);
  expect(at(1)[0]).toBeCloseTo((1 / Math.SQRT2 + 1) * 127.5, -0.5);
  const much = at(1000);
  expect(much[0]).toBe(255);
  expect(Math.abs((much[1] as number) - 128)).toBeLessThan(2);
});
