import { expect, test } from "vitest";
import { joined, nearest, reelOf, unfilm, unpack } from "./reel";

interface Made {
  meta?: Record<string, unknown>;
  parts?: Record<string, number[]>; // float16 bits of each
  attention?: { scales: number[]; bytes: number[] }[]; // a layer each
}

const ONE = 0x3c00;
const HALF = 0x3800;

/** A frame as the kernel packs it: two images of one channel and one pixel, if not said. */
function packed({ meta = {}, parts = { denoised: [ONE, HALF] }, attention = [] }: Made = {}) {
  const names = [...Object.keys(parts), ...(attention.length > 0 ? ["attention"] : [])];
  const numbers = { index: 3, sigma: 1.5, sigma_next: 1, seconds: 0.25, size: [2, 1, 1, 1] };
  const json = JSON.stringify({ ...numbers, parts: names, grids: [], tokens: 0, ...meta });
  const out: number[] = [];
  const pad = (filler = 0) => {
    while (out.length % 4 !== 0) out.push(filler);
  };
  out.push(...new TextEncoder().encode(json));
  pad(32);
  out.unshift(...new Uint8Array(Uint32Array.of(out.length).buffer));
  for (const bits of Object.values(parts)) {
    for (const one of bits) out.push(one & 255, one >> 8);
    pad();
  }
  for (const { scales, bytes } of attention) {
    out.push(...new Uint8Array(Float32Array.from(scales).buffer), ...bytes);
    pad();
  }
  return Uint8Array.from(out);
}

const withAttention = {
  meta: {
    grids: [
      [1, 2],
      [1, 1],
    ],
    tokens: 3,
  },
  attention: [
    { scales: [1, 2, 3, 4, 5, 6], bytes: [1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12] },
    { scales: [0.5, 0, 0, 0, 0, 0.25], bytes: [50, 0, 0, 0, 0, 25] },
  ],
};

test("a frame has its numbers, and each part as floats", () => {
  const parts = { x: [HALF, HALF], denoised: [ONE, HALF], uncond: [0, 0], difference: [ONE, ONE] };
  const frame = unpack(packed({ parts }));
  expect(frame).toMatchObject({ index: 3, sigma: 1.5, sigma_next: 1, seconds: 0.25, guided: true });
  expect(frame?.size).toEqual([2, 1, 1, 1]);
  expect([...(frame?.x ?? [])]).toEqual([0.5, 0.5]);
  expect([...(frame?.denoised ?? [])]).toEqual([1, 0.5]);
  expect([...(frame?.difference ?? [])]).toEqual([1, 1]);
});

test("floats are made once", () => {
  const frame = unpack(packed());
  expect(frame?.denoised).toBe(frame?.denoised);
});

test("parts that are not there are not", () => {
  const frame = unpack(packed());
  expect([frame?.x, frame?.uncond, frame?.guided]).toEqual([undefined, undefined, false]);
  expect(frame?.attention(0, 0)).toBeUndefined();
});

test("an odd number of halves is padded before the next part", () => {
  const meta = { size: [1, 1, 1, 1] };
  const frame = unpack(packed({ meta, parts: { x: [HALF], denoised: [ONE] } }));
  expect([...(frame?.denoised ?? [])]).toEqual([1]);
});

test("attention is found by layer and image", () => {
  const frame = unpack(packed(withAttention));
  const second = frame?.attention(0, 1);
  expect([second?.h, second?.w]).toEqual([1, 2]);
  expect([...(second?.scales ?? [])]).toEqual([4, 5, 6]);
  expect([...(second?.bytes ?? [])]).toEqual([7, 8, 9, 10, 11, 12]);
  expect([...(frame?.attention(1, 1)?.bytes ?? [])]).toEqual([0, 0, 25]);
  expect(frame?.attention(2, 0)).toBeUndefined();
  expect(frame?.attention(0, 2)).toBeUndefined();
});

test("it does not matter where in a buffer the bytes begin", () => {
  const data = packed(withAttention);
  const shifted = new Uint8Array(data.length + 1);
  shifted.set(data, 1);
  const frame = unpack(new DataView(shifted.buffer, 1));
  expect([...(frame?.attention(0, 1)?.scales ?? [])]).toEqual([4, 5, 6]);
});

test.each<[string, Uint8Array]>([
  ["nothing", new Uint8Array()],
  ["a text longer than the bytes", Uint8Array.of(200, 0, 0, 0, 32, 32, 32, 32)],
  ["no JSON", Uint8Array.of(4, 0, 0, 0, 1, 2, 3, 4)],
  ["bytes cut off", packed().subarray(0, -2)],
  ["bytes too many", Uint8Array.of(...packed(), 0, 0, 0, 0)],
  ["a size of three numbers", packed({ meta: { size: [2, 1, 1] } })],
  ["a size that would take all memory", packed({ meta: { size: [1e9, 1e9, 1e9, 1e9] } })],
  ["a size of fractions", packed({ meta: { size: [2, 0.5, 1, 1] } })],
  ["a step before the first", packed({ meta: { index: -1 } })],
  ["a noise level in words", packed({ meta: { sigma: "1.5" } })],
  ["parts in another order", packed({ parts: { denoised: [0, 0], x: [0, 0] } })],
  ["parts nobody knows", packed({ parts: { denoised: [0, 0], y: [0, 0] } })],
  ["one half of guidance", packed({ parts: { denoised: [0, 0], uncond: [0, 0] } })],
  ["maps without tokens", packed({ ...withAttention, meta: { grids: [[1, 2]], tokens: 0 } })],
  ["maps of no size", packed({ ...withAttention, meta: { grids: [[0, 2]], tokens: 3 } })],
])("%s is no frame", (_, data) => {
  expect(unpack(data)).toBeUndefined();
});

test("a step that was not timed has no time", () => {
  expect(unpack(packed({ meta: { seconds: null } }))?.seconds).toBeNull();
});

const frames = [0, 4, 9].map((index) => {
  const frame = unpack(packed({ meta: { index } }));
  if (frame === undefined) throw new Error("no frame");
  return frame;
});

test.each([
  [-1, 9],
  [0, 0],
  [2, 0],
  [3, 4],
  [100, 9],
])("of the kept steps 0, 4 and 9, step %i is shown by %i", (step, index) => {
  expect(nearest(frames, step)?.index).toBe(index);
  expect(reelOf(undefined, frames).at(step)?.index).toBe(index);
});

test("without steps none is shown", () => {
  expect(nearest([], 3)).toBeUndefined();
});

test("a film is its frames one after another, and a broken one is left out", () => {
  const one = (data: Uint8Array) => [
    ...new Uint8Array(Uint32Array.of(data.length).buffer),
    ...data,
  ];
  const good = packed();
  const film = Uint8Array.from([...one(good), ...one(Uint8Array.of(1, 2, 3, 4)), ...one(good)]);
  expect(unfilm(film)).toHaveLength(2);
  expect(unfilm(film.subarray(0, film.length - 4))).toHaveLength(1);
});

/** What is not there fails the test. */
function sure<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("it is not there");
  return value;
}

const stage = { parts: { x: [HALF, 0], denoised: [ONE, HALF] } };
const inside = { ...withAttention, parts: { uncond: [0, ONE], difference: [ONE, ONE] } };

test("a step whose parts came apart is one", () => {
  const base = sure(unpack(packed(stage)));
  const frame = joined(base, unpack(packed(inside)));
  expect([frame.index, frame.guided, frame.tokens, frame.grids.length]).toEqual([3, true, 3, 2]);
  expect([...sure(frame.x), ...sure(frame.difference)]).toEqual([0.5, 0, 1, 1]);
  expect([...sure(frame.attention(1, 1)).bytes]).toEqual([0, 0, 25]);
  expect(base.guided).toBe(false);
});

test.each([
  ["of another step", { index: 4 }],
  ["of another size", { size: [1, 2, 1, 1] }],
])("parts %s are not joined", (_, meta) => {
  const base = sure(unpack(packed(stage)));
  const other = packed({ meta, parts: { uncond: [0, ONE], difference: [ONE, ONE] } });
  expect(joined(base, sure(unpack(other)))).toBe(base);
  expect(joined(base, undefined)).toBe(base);
});
