import { afterEach, expect, test, vi } from "vitest";
import { bytes, type Frame, frame, Player, rgba, size, thin } from "./frames";

const meta = { run: 1, step: 2, steps: 20, sigma: 1.5, width: 2, height: 1 };
const six = new Uint8Array([1, 2, 3, 4, 5, 6]);

afterEach(() => {
  vi.unstubAllGlobals();
});

test("a DataView into the middle of a buffer keeps to its part", () => {
  const buffer = new Uint8Array([9, 1, 2, 9]).buffer;
  expect([...bytes(new DataView(buffer, 1, 2))]).toEqual([1, 2]);
});

test("arrays, as Colab sends them, and bare buffers are bytes too", () => {
  expect([...bytes(six)]).toEqual([...six]);
  expect([...bytes(six.buffer)]).toEqual([...six]);
});

test("anything else is no bytes", () => {
  for (const value of [null, undefined, "text", 5, {}]) expect(bytes(value)).toHaveLength(0);
});

test("a frame has its numbers and both pictures", () => {
  const made = frame(meta, new DataView(six.buffer), six);
  expect(made).toMatchObject({ run: 1, step: 2, steps: 20, sigma: 1.5, blank: [0, 0] });
  expect([...(made?.noisy ?? [])]).toEqual([...six]);
});

test("a frame whose bytes do not fit its size is none", () => {
  expect(frame(meta, six, six.subarray(3))).toBeUndefined();
  expect(frame({ ...meta, width: 0 }, six, six)).toBeUndefined();
  expect(frame({ ...meta, width: "2" }, six, six)).toBeUndefined();
  expect(frame(undefined, six, six)).toBeUndefined();
});

test("times that are not known are no numbers", () => {
  expect(frame({ ...meta, seconds: null }, six, six)?.seconds).toBeNaN();
  expect(frame({ ...meta, left: 3 }, six, six)?.left).toBe(3);
});

test("too many frames are thinned evenly, and the first and the last stay", () => {
  const many = Array.from({ length: 100 }, (_, i) => {
    return frame({ ...meta, step: i + 1 }, six, six) as Frame;
  });
  expect(size(many)).toBe(1200);
  thin(many, 400);
  expect(size(many)).toBeLessThanOrEqual(400);
  expect([many[0]?.step, many.at(-1)?.step]).toEqual([1, 100]);
  const gaps = many.slice(1).map((one, i) => one.step - (many[i] as Frame).step);
  expect(Math.max(...gaps)).toBeLessThanOrEqual(2 * Math.min(...gaps) + 1);
});

test("RGB becomes opaque RGBA", () => {
  expect([...rgba(six)]).toEqual([1, 2, 3, 255, 4, 5, 6, 255]);
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
