import { expect, test } from "vitest";
import { imageHeader, madeReel, nothingSelected, type Options } from "../../test/runs";
import { canvasSize, columns, contour, glance, heat, ranking, scaled } from "./heat";
import { reelOf } from "./reel";
import type { Header, Reel } from "./view";

const grids: [number, number][] = [
  [3, 5],
  [4, 2],
  [3, 5],
];
// Any function of the place will do that is not symmetric.
const options: Options = {
  steps: 3,
  grids,
  prompts: ["a cat sitting by a car", "one dog"],
  probability: (token, x, y, { step, layer, picture }) =>
    (1 + token + 3 * x * (layer + 1) + 2 * y * y * (token % 3) + step * x * y + picture * y) / 40,
};
const reel = madeReel(options);
const cat = { ...nothingSelected, word: "cat" };

const withRecipe = (recipe: Partial<Header["recipe"]>): Reel => {
  const header = reel.header as Header;
  return reelOf({ ...header, recipe: { ...header.recipe, ...recipe } }, reel.frames);
};

/** The same by the definition: each map of each token, layer and step resized, then the mean. */
function reference(of: typeof cat, tokens: number[], layers: number[], steps: number[]) {
  const [W, H] = [7, 6];
  const out = new Float64Array(W * H);
  for (const step of steps) {
    for (const layer of layers) {
      const found = reel.frames[step]?.attention(layer, of.picture);
      if (found === undefined) throw new Error("no such layer");
      const { h, w, bytes, scales } = found;
      for (const token of tokens) {
        const at = (y: number, x: number) =>
          ((bytes[token * h * w + y * w + x] as number) / 255) * (scales[token] as number);
        for (let i = 0; i < out.length; i++) {
          const y = Math.max(((Math.floor(i / W) + 0.5) * h) / H - 0.5, 0);
          const x = Math.max((((i % W) + 0.5) * w) / W - 0.5, 0);
          const [top, left] = [Math.floor(y), Math.floor(x)];
          const [bottom, right] = [Math.min(top + 1, h - 1), Math.min(left + 1, w - 1)];
          const [v, u] = [y - top, x - left];
          const upper = at(top, left) * (1 - u) + at(top, right) * u;
          const lower = at(bottom, left) * (1 - u) + at(bottom, right) * u;
          out[i] = (out[i] as number) + upper * (1 - v) + lower * v;
        }
      }
    }
  }
  return out.map((value) => value / (tokens.length * layers.length * steps.length));
}

function close(found: Float32Array | undefined, expected: ArrayLike<number>) {
  expect(found).toHaveLength(expected.length);
  const gaps = [...(found ?? [])].map((value, i) => Math.abs(value - (expected[i] as number)));
  expect(Math.max(...gaps)).toBeLessThan(1e-6);
}

test("a map is the mean over tokens, layers and steps of maps resized bilinearly", () => {
  close(heat(reel, cat, 7, 6), reference(cat, [2], [0, 1, 2], [0, 1, 2]));
  const sitting = { ...cat, word: "sitting" };
  close(heat(reel, sitting, 7, 6), reference(sitting, [3, 4], [0, 1, 2], [0, 1, 2]));
});

test("all occurrences of a word count, in any case", () => {
  close(heat(reel, { ...cat, word: "A" }, 7, 6), reference(cat, [1, 6], [0, 1, 2], [0, 1, 2]));
});

test("several words are one map, where they stand together", () => {
  expect(columns(imageHeader("a cat by a Cat by"), " cat  BY ", 9)).toEqual([2, 3, 5, 6]);
  expect(columns(imageHeader("a cat by a car"), "cat a", 9)).toEqual([]);
});

test("a layer and a step can be chosen, and an image of the batch", () => {
  const one = { ...cat, layer: 1, span: "step", step: 2 } as const;
  close(heat(reel, one, 7, 6), reference(cat, [2], [1], [2]));
  const dog = { ...cat, word: "dog", picture: 1 };
  close(heat(reel, dog, 7, 6), reference(dog, [2], [0, 1, 2], [0, 1, 2]));
});

test("the recipe says which layers and steps count", () => {
  const some = withRecipe({ layers: [0, 2], steps: [0.5, 1] });
  close(heat(some, cat, 7, 6), reference(cat, [2], [0, 2], [1, 2]));
});

test("until one of the recipe's steps is there, those that are count", () => {
  const late = withRecipe({ steps: [0.9, 1] });
  const begun = reelOf(late.header, late.frames.slice(0, 2));
  close(heat(begun, cat, 7, 6), reference(cat, [2], [0, 1, 2], [0, 1]));
});

test("a map of a run that goes on is the one of the steps so far", () => {
  const frames = [...reel.frames.slice(0, 1)];
  const growing = reelOf(reel.header, frames);
  close(heat(growing, cat, 7, 6), reference(cat, [2], [0, 1, 2], [0]));
  frames.push(...reel.frames.slice(2));
  close(heat(growing, cat, 7, 6), reference(cat, [2], [0, 1, 2], [0, 2]));
  frames.splice(1, 0, ...reel.frames.slice(1, 2));
  close(heat(growing, cat, 7, 6), reference(cat, [2], [0, 1, 2], [0, 1, 2]));
  frames.splice(0, 2); // another run in the same reel
  close(heat(growing, cat, 7, 6), reference(cat, [2], [0, 1, 2], [2]));
});

test("against words, the maps of all words sum to 1 everywhere", () => {
  const against = withRecipe({ against: "words" });
  const sum = new Float64Array(42);
  for (const word of ["a", "cat", "sitting", "by", "car"]) {
    heat(against, { ...cat, word }, 7, 6)?.forEach((value, i) => {
      sum[i] = (sum[i] as number) + value; // of "a", both occurrences together
    });
  }
  close(Float32Array.from(sum), new Array(42).fill(1));
});

test("start, end and padding are never put against the words", () => {
  const against = withRecipe({ against: "words" });
  for (const [word, tokens] of [
    ["<start>", [0]],
    ["<end>", [8]],
    ["<padding>", [10]],
  ] as const) {
    const found = heat(against, { ...cat, word }, 7, 6);
    close(found, reference(cat, [...tokens], [0, 1, 2], [0, 1, 2]));
  }
});

test("a layer or image that this run lacks is as if none was chosen, or the last one", () => {
  expect(heat(reel, { ...cat, layer: 9 }, 7, 6)).toBe(heat(reel, cat, 7, 6));
  const dog = { ...cat, word: "dog", picture: 1 };
  expect(heat(reel, { ...dog, picture: 5 }, 7, 6)).toBe(heat(reel, dog, 7, 6));
});

test("there is no map of what is not there", () => {
  expect(heat(reel, { ...cat, word: "dog" }, 7, 6)).toBeUndefined();
  expect(heat(reel, { ...cat, word: "" }, 7, 6)).toBeUndefined();
  expect(heat(reelOf(reel.header, []), cat, 7, 6)).toBeUndefined();
  expect(heat(reelOf(undefined, reel.frames), cat, 7, 6)).toBeUndefined();
  expect(heat(madeReel({ grids: [] }), cat, 7, 6)).toBeUndefined();
});

test("a spot's words are ranked by the values of their maps there", () => {
  const cell = { x: 2.5 / 7, y: 4.5 / 6 };
  for (const one of [reel, withRecipe({ against: "words" })]) {
    const ranked = ranking(one, cat, cell);
    const shares = ranked.map(({ share }) => share);
    expect(shares).toEqual([...shares].sort((a, b) => b - a));
    expect(ranked.map(({ word }) => word).sort()).toEqual(["a", "by", "car", "cat", "sitting"]);
    for (const { word, share } of ranked) {
      expect(share).toBeCloseTo(heat(one, { ...cat, word }, 7, 6)?.[4 * 7 + 2] as number, 5);
    }
  }
});

test("against words, the shares at a spot sum to 1", () => {
  const cell = { x: 2.5 / 7, y: 4.5 / 6 };
  const ranked = ranking(withRecipe({ against: "words" }), cat, cell);
  expect(ranked.reduce((sum, one) => sum + one.share, 0)).toBeCloseTo(1);
  const values = [[1], [2], [3, 4], [5], [6], [7]].map((tokens) => {
    return reference(cat, tokens, [0, 1, 2], [0, 1, 2])[4 * 7 + 2] as number;
  });
  const share = (values[1] as number) / values.reduce((sum, value) => sum + value, 0);
  expect(ranked.find((one) => one.word === "cat")?.share).toBeCloseTo(share, 5);
});

test("a spot at the very edge is a spot", () => {
  expect(ranking(reel, cat, { x: 1, y: 0 })).toHaveLength(5);
  expect(ranking(reelOf(reel.header, []), cat, { x: 0, y: 0 })).toEqual([]);
});

test("columns past the recorded ones are no tokens", () => {
  const header = imageHeader("a cat");
  expect(columns(header, "<padding>", 6)).toEqual([5]);
  expect(columns(header, "<padding>", 4)).toEqual([]);
  expect(columns(header, "<end>", 3)).toEqual([]);
  expect(columns(header, "cat", 2)).toEqual([]);
});

test("a layer at a step has a mean, and a peak: the mean of its strongest tenth", () => {
  const even = madeReel({ grids: [[8, 8]] }).frames[0];
  expect(even && glance(even, 0, 0, [2])).toEqual({
    mean: expect.closeTo(0.5),
    peak: expect.closeTo(0.5),
  });
  // Three of 64 cells are 1: of the strongest 6.4, the rest is 0.
  const spot = madeReel({ grids: [[8, 8]], probability: (_, x, y) => (x + y < 0.3 ? 1 : 0) });
  expect(spot.frames[0] && glance(spot.frames[0], 0, 0, [2])).toEqual({
    mean: expect.closeTo(3 / 64),
    peak: expect.closeTo(3 / 6.4),
  });
  expect(spot.frames[0] && glance(spot.frames[0], 3, 0, [2])).toBeUndefined();
});

test("on screen a map goes from 0 to 1, a constant one is 0", () => {
  expect([...scaled(Float32Array.of(2, 4, 3))]).toEqual([0, 1, 0.5]);
  expect([...scaled(Float32Array.of(2, 2))]).toEqual([0, 0]);
});

test("an overlay has the image's shape and at most 256 pixels a side", () => {
  expect(canvasSize({ width: 512, height: 256 })).toEqual([256, 128]);
  expect(canvasSize({ width: 96, height: 128 })).toEqual([96, 128]);
});

test("a contour runs between the cells above and those below", () => {
  // One cell of four is above: its corner is cut off half-way.
  expect(contour(Float32Array.of(1, 0, 0, 0), 2, 2, 0.5)).toEqual([0.5, 1, 1, 0.5]);
  // The right column is above: a line down, also at 3/4 of the way.
  const column = contour(Float32Array.of(0, 1, 0, 1), 2, 2, 0.75);
  expect(column).toEqual([1.25, 0.5, 1.25, 1.5]);
  expect(contour(new Float32Array(9), 3, 3, 0.5)).toEqual([]);
});

test("a contour around a spot is closed: every end meets another", () => {
  const values = Float32Array.from({ length: 100 }, (_, i) => {
    return Math.exp(-(((i % 10) - 4.3) ** 2) / 5 - (Math.floor(i / 10) - 5.1) ** 2 / 9);
  });
  values[9] = 1; // and a corner, whose line ends at the edges
  const lines = contour(values, 10, 10, 0.5);
  const ends = new Map<string, number>();
  for (let i = 0; i < lines.length; i += 2) {
    const name = `${lines[i]?.toFixed(4)} ${lines[i + 1]?.toFixed(4)}`;
    ends.set(name, (ends.get(name) ?? 0) + 1);
  }
  expect([...ends.values()].filter((count) => count !== 2)).toEqual([1, 1]);
});

test("a saddle's corners are joined where the mean of the four is above", () => {
  const sides = (values: Float32Array) => {
    const lines = contour(values, 2, 2, 0.5);
    const side = (i: number) => {
      const [x, y] = [lines[i], lines[i + 1]];
      return x === 0.5 ? "left" : x === 1.5 ? "right" : y === 0.5 ? "top" : "bottom";
    };
    return [0, 4].map((i) => [side(i), side(i + 2)].sort().join());
  };
  expect(sides(Float32Array.of(1, 0.25, 0.25, 1)).sort()).toEqual(["bottom,left", "right,top"]);
  expect(sides(Float32Array.of(0.75, 0, 0, 0.75)).sort()).toEqual(["bottom,right", "left,top"]);
});
