import { afterEach, expect, test, vi } from "vitest";
import { Player } from "./player";

afterEach(() => {
  vi.unstubAllGlobals();
});

/** Screen refreshes by hand. */
function refreshes() {
  const waiting: (() => void)[] = [];
  vi.stubGlobal("requestAnimationFrame", (f: () => void) => waiting.push(f));
  vi.stubGlobal("cancelAnimationFrame", () => waiting.splice(0));
  return () => waiting.splice(0).forEach((f) => void f());
}

test("what comes together is shown one to a refresh, in order", () => {
  const refresh = refreshes();
  const shown: number[] = [];
  const player = new Player();
  for (const i of [1, 2, 3]) player.push(() => shown.push(i));
  expect(shown).toEqual([]);
  refresh();
  expect(shown).toEqual([1]);
  refresh();
  refresh();
  expect(shown).toEqual([1, 2, 3]);
});

test("what comes faster than the screen does not wait ever longer", () => {
  const refresh = refreshes();
  const shown: number[] = [];
  const player = new Player();
  for (let i = 0; i < 200; i++) player.push(() => shown.push(i));
  refresh();
  expect(shown).toHaveLength(20);
  for (let i = 0; i < 40; i++) refresh();
  expect(shown).toEqual(Array.from({ length: 200 }, (_, i) => i));
});

test("in a hidden page it is shown at once", () => {
  refreshes();
  vi.spyOn(document, "hidden", "get").mockReturnValueOnce(true);
  const shown: number[] = [];
  new Player().push(() => shown.push(1));
  expect(shown).toEqual([1]);
});

test("what was cleared is never shown", () => {
  const refresh = refreshes();
  const shown: number[] = [];
  const player = new Player();
  player.push(() => shown.push(1));
  player.clear();
  refresh();
  expect(shown).toEqual([]);
});
