// What Python packs, read: golden.json holds its bytes, and beside them the numbers that must come
// out. It also holds messages that Python is tested to understand. tests/golden.py writes it.

import { expect, test } from "vitest";
import { gridOf } from "../src/lab/channel";
import { Stroke } from "../src/lab/paint";
import { read } from "../src/lab/traits";
import type { Data } from "../src/lab/view";
import { bytes } from "../src/lib/bytes";
import { type Colormap, colours } from "../src/lib/colours";
import { curveOf } from "../src/lib/curve";
import { partsOf } from "../src/lib/files";
import { type Header, readHeader } from "../src/lib/header";
import { heat } from "../src/lib/heat";
import { preview } from "../src/lib/latents";
import { reelOf, unfilm } from "../src/lib/reel";
import { withBytes } from "../src/standalone";
import golden from "./golden.json";
import { nothingSelected } from "./runs";

const { run, lab } = golden;
const data = (value: { $bytes: string }) => withBytes(value) as Uint8Array;
const header = readHeader(run.header) as Header;
const frames = unfilm(data(run.film));
const reel = reelOf(header, frames);

/** No number is further from Python's than `most`, beside a share of it. */
function near(found: ArrayLike<number> | undefined, wanted: number[], most: number, share = 0) {
  expect(found?.length).toBe(wanted.length);
  const off = wanted.map((value, i) => {
    return Math.abs((found?.[i] as number) - value) - share * Math.abs(value);
  });
  expect(Math.max(...off)).toBeLessThanOrEqual(most);
}

test("the header is taken as it is", () => {
  expect(header).toEqual(run.header);
});

test("there are as many frames as steps", () => {
  expect(frames.length).toBe(run.steps.length);
});

test.each(run.steps.map((step, i) => [i, step] as const))(
  "the numbers of step %d are those of the run",
  (i, { attention, x, denoised, uncond, difference, ...numbers }) => {
    const frame = frames[i];
    if (frame === undefined) throw new Error("no frame");
    expect(frame).toMatchObject({ ...numbers, guided: true });
    // float16 has eleven bits
    for (const [found, wanted] of [
      [frame.x, x],
      [frame.denoised, denoised],
      [frame.uncond, uncond],
      [frame.difference, difference],
    ] as const) {
      near(found, wanted, 1e-6, 2 ** -11);
    }
    expect(frame.grids.length).toBe(attention.length);
    attention.forEach((wanted, layer) => {
      const [batch] = frame.size;
      const each = wanted.length / batch; // of an image: [T, h, w]
      for (let image = 0; image < batch; image++) {
        const found = frame.attention(layer, image);
        if (found === undefined) throw new Error("no attention");
        const { scales, bytes: levels, h, w } = found;
        const values = Array.from(levels, (level, at) => {
          return (level / 255) * (scales[Math.floor(at / (h * w))] as number);
        });
        near(values, wanted.slice(image * each, (image + 1) * each), Math.max(...scales) / 500);
      }
    });
  },
);

test.each(run.heat)("the heat map of $chosen is Python's", ({ chosen, values }) => {
  const selection = { ...nothingSelected, ...(chosen as object) };
  near(heat(reel, selection, header.width, header.height), values, 1 / 255);
});

test.each(run.previews)("latents $of of step $step have Python's colours", (wanted) => {
  const frame = frames[wanted.step];
  const latents = wanted.of === "x" ? frame?.x : frame?.denoised;
  if (frame === undefined || latents === undefined) throw new Error("no latents");
  const [batch] = frame.size;
  const rgb = [...Array(batch).keys()].flatMap((image) => {
    const { pixels } = preview(latents, frame.size, image, header.factors);
    return [...pixels].filter((_, i) => i % 4 < 3);
  });
  near(rgb, [...data(wanted.rgb)], 1);
});

test.each(Object.entries(golden.colormaps))("%s has matplotlib's colours", (name, table) => {
  near(colours(name as Colormap), [...data(table)], 1);
});

test("a training's curve has the numbers of its steps", () => {
  const { names, rows } = golden.curve;
  const { steps, lines } = curveOf(data(golden.curve.data), names);
  const found = steps.map((step, i) => {
    return [step, ...lines.flatMap(({ values, means }) => [values[i], means[i]])];
  });
  const wanted = rows.map((row) => row.map((value) => value ?? Number.NaN));
  expect(lines.map(({ name }) => name)).toEqual(names);
  expect(found).toEqual(wanted);
});

test.each(Object.keys(lab.traits) as (keyof typeof lab.traits)[])(
  "the lab takes the kernel's %s",
  (name) => {
    const value = withBytes(lab.traits[name]);
    expect(read(name as keyof Data, value)).toEqual(value);
  },
);

test.each([
  ["mean", lab.traits.latents],
  ["std", lab.traits.latents],
  ["sample", lab.codes],
  ["latents", lab.traits.edited],
] as const)("the lab's %s is numbers in the channels' order", (name, trait) => {
  const value = (trait as unknown as Record<string, { $bytes: string }>)[name];
  near(gridOf(value && data(value), trait)?.values, lab.latents, 0, 2 ** -11);
});

test("an error map stands for the error", () => {
  const [result] = lab.traits.results;
  if (result === undefined) throw new Error("no result");
  const found = [...data(result.error)].map((level) => (level / 255) * result.error_max);
  near(found, lab.error, result.error_max / 500);
});

test("codes are numbers of two bytes, the smaller first", () => {
  const value = withBytes(lab.codes) as Data["latents"];
  const { buffer, byteOffset, byteLength } = bytes(value?.codes?.indices);
  const view = new DataView(buffer, byteOffset, byteLength);
  const found = lab.indices.map((_, i) => view.getUint16(2 * i, true));
  expect(byteLength).toBe(2 * lab.indices.length);
  expect(found).toEqual(lab.indices);
  expect(read("latents", value)).toEqual(value);
});

test("a file is sent as Python reads it", async () => {
  const { message, data: sent } = golden.asked.file;
  const file = new File([data(sent) as Uint8Array<ArrayBuffer>], "a.png");
  const [part, ...others] = await partsOf(file, true);
  expect(others).toEqual([]);
  expect(part?.message).toEqual(message);
  expect([...bytes(part?.data)]).toEqual([...data(sent)]);
});

test("a stroke of the brush is sent as Python reads it", () => {
  const stroke = new Stroke({ channel: 1, value: -2.5, mode: "add" });
  stroke.to({ x: 0, y: 1 });
  stroke.to({ x: 1, y: 1 });
  expect(stroke.edit).toEqual(golden.asked.stroke.edit);
});
