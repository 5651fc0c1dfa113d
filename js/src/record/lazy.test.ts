// What is read of a large record, and when.

import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { madeRecord } from "../../test/packed";
import { numbered } from "../lib/shared";
import type { Source } from "../lib/source";
import { openRecord, type RecordFile, RefusedRecord } from "./index";

const STEPS = 20;
const FRAMES = numbered("frame");
const large = await madeRecord(STEPS, 128); // 256 kB of latents a step

/** A file that counts what is read of it, and answers only as it is let. */
class Slow implements Source {
  readonly size: number;
  readonly asked: [number, number][] = [];
  readonly #data: Uint8Array;
  #waiting: (() => void)[] = [];
  held = false;

  constructor(data: Uint8Array) {
    this.#data = data;
    this.size = data.length;
  }
  async read(from: number, to: number, signal?: AbortSignal) {
    this.asked.push([from, to]);
    if (this.held) await new Promise<void>((resolve) => void this.#waiting.push(resolve));
    signal?.throwIfAborted();
    return this.#data.subarray(from, to);
  }
  release() {
    this.held = false;
    for (const go of this.#waiting.splice(0)) go();
  }
}

/** The steps whose frames are there. */
const there = ({ model }: RecordFile) =>
  Array.from({ length: STEPS }, (_, i) => i).filter((i) => model.get(FRAMES[i] as string));

let idle: (() => void)[] = [];

/** Lets the page be idle once. */
async function beIdle() {
  for (const go of idle.splice(0)) go();
  for (let i = 0; i < 20; i++) await Promise.resolve();
  await new Promise((resolve) => setTimeout(resolve));
}

beforeEach(() => {
  idle = [];
  vi.stubGlobal("requestIdleCallback", (go: () => void) => idle.push(go));
});
afterEach(() => {
  vi.unstubAllGlobals();
});

test("opening takes a request for the header, and one for each type of the first step", async () => {
  const source = new Slow(large);
  const file = await openRecord(source);
  expect(large.length).toBeGreaterThan(2 ** 21);
  expect(source.asked[0]).toEqual([0, 65_536]);
  expect(source.asked.length).toBeLessThanOrEqual(3); // scales lie behind the header
  expect(there(file)).toEqual([STEPS - 1]); // the newest is what a viewer shows
  expect(source.asked.reduce((sum, [from, to]) => sum + to - from, 0)).toBeLessThan(10 ** 6);
  file.close();
});

test("while the page is idle the other steps follow, and a selected one is next", async () => {
  const source = new Slow(large);
  const file = await openRecord(source);
  const order: number[] = [];
  FRAMES.forEach((name, i) => {
    file.model.on(`change:${name}`, () => void order.push(i));
  });
  file.model.set("step", 5 as never);
  await vi.waitFor(() => expect(there(file)).toEqual([5, STEPS - 1]));
  expect(source.asked.length).toBeLessThanOrEqual(5);
  while (order.length < 5) await beIdle();
  expect(order.slice(0, 5)).toEqual([5, 4, 6, 3, 7]); // the nearest first
  file.model.set("step", 15 as never);
  await vi.waitFor(() => expect(there(file)).toContain(15));
  file.close();
});

test("every step is read once, and the file is then read through", async () => {
  const source = new Slow(large);
  const open = openRecord(source);
  const run = setInterval(() => idle.splice(0).forEach((go) => void go()), 0);
  const file = await open;
  expect((await file.frames()).length).toBe(STEPS);
  await file.checked;
  clearInterval(run);
  expect(there(file).length).toBe(STEPS);
  const whole = source.asked.filter(([from, to]) => to - from >= 4 * 2 ** 20);
  expect(whole.length).toBe(Math.floor(large.length / (4 * 2 ** 20)));
});

test("a file that was changed is refused after it was shown, and what was shown is gone", async () => {
  const bad = large.slice();
  bad[bad.length - 1] = 99; // a map of some step: only the digest tells
  const said: number[] = [];
  const source = new Slow(bad);
  const file = await openRecord(source, { name: "a.sdtrace", progress: (read) => said.push(read) });
  expect(there(file)).toEqual([STEPS - 1]);
  expect(file.model.get("state")).toBe("done");
  const run = setInterval(() => idle.splice(0).forEach((go) => void go()), 0);
  await expect(file.checked).rejects.toBeInstanceOf(RefusedRecord);
  clearInterval(run);
  const message = "'a.sdtrace' is damaged: it is not what was written (its SHA-256 differs).";
  expect(file.model.get("message")).toBe(`${message}\nTake another copy of it.`);
  expect(file.model.get("state")).toBe("error");
  expect(
    FRAMES.map((name) => file.model.get(name)).filter((one) => (one as Uint8Array)?.length),
  ).toEqual([]);
  expect(said.at(-1)).toBe(bad.length);
  await expect(file.frames()).rejects.toThrow("SHA-256 differs");
});

test("closing ends the reading", async () => {
  const source = new Slow(large);
  const file = await openRecord(source);
  source.held = true;
  file.model.set("step", 3 as never);
  await vi.waitFor(() => expect(source.asked.length).toBeGreaterThan(3));
  file.close();
  source.release();
  await expect(file.frames()).rejects.toThrow();
  const count = source.asked.length;
  await beIdle();
  await beIdle();
  expect(source.asked.length).toBe(count);
  expect(there(file)).toEqual([STEPS - 1]);
});

test("the page does other things while a file is checked", async () => {
  const source = new Slow(large);
  let turns = 0;
  const run = setInterval(() => {
    turns++;
    idle.splice(0).forEach((go) => void go());
  }, 0);
  const file = await openRecord(source);
  const before = turns;
  await file.checked;
  clearInterval(run);
  expect(turns - before).toBeGreaterThanOrEqual(Math.floor(large.length / 2 ** 19));
});
