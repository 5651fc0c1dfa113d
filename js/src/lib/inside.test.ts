import { expect, test } from "vitest";
import { inside } from "./inside";
import { blobSource, type Source } from "./source";

const settings = { prompt: "a cat", seed: 7 };
const text = (words: string) => new TextEncoder().encode(words);

/** A file of these parts that counts the bytes that are read. */
function file(...parts: Uint8Array[]) {
  const blob = new Blob(parts as Uint8Array<ArrayBuffer>[]);
  const source = blobSource(blob);
  let count = 0;
  const read = (from: number, to: number) => {
    if (from < 0 || to > blob.size || from > to) throw new RangeError(`${from} to ${to}`);
    count += to - from;
    return source.read(from, to);
  };
  return Object.assign({ size: blob.size, read } satisfies Source, { count: () => count });
}

function record(made: unknown, tensors: object = {}, ...data: Uint8Array[]) {
  const metadata = { sdtrace: JSON.stringify(made) };
  const header = text(JSON.stringify({ __metadata__: metadata, ...tensors }));
  const length = new Uint8Array(8);
  new DataView(length.buffer).setBigUint64(0, BigInt(header.length), true);
  return file(length, header, ...data);
}

const SIGNATURE = new Uint8Array([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]);
function chunk(type: string, data: Uint8Array, length = data.length) {
  const whole = new Uint8Array(12 + data.length); // the sum is not read
  new DataView(whole.buffer).setUint32(0, length);
  whole.set(text(type), 4);
  whole.set(data, 8);
  return whole;
}
const words = (made: unknown, key = "sdwidgets", flags = "\0\0\0\0") =>
  chunk("iTXt", text(`${key}\0${flags}${JSON.stringify(made)}`));
const header = chunk("IHDR", new Uint8Array(13));
const pixels = chunk("IDAT", new Uint8Array(1000));

test("a record says what made it, and where its start image is", async () => {
  const made = { model: "m", task: "image to image", settings, steps: [1], layers: { cross: {} } };
  const given = { given_image: { data_offsets: [4, 10] }, given_latents: {} };
  const source = record(made, given, new Uint8Array(1000));
  const found = await inside(source);
  const wanted = { model: "m", task: "image to image", settings, given: ["image", "latents"] };
  expect(found).toMatchObject({ kind: "record", attention: false });
  expect(found?.made).toEqual(wanted);
  const data = source.size - 1000;
  expect(found?.image).toEqual({ from: data + 4, to: data + 10 });
  expect(source.count()).toBeLessThan(data + 20); // only the header
});

test("a record says where its label map and its neighbours are, and what steered it", async () => {
  const guide = { name: "colour", colour: "red" };
  const source = record(
    { settings, guide },
    {
      given_label_map: { shape: [1, 2], data_offsets: [0, 4] },
      "given_neighbour.0": { data_offsets: [4, 6] },
      "given_neighbour.1": { data_offsets: [6, 9999] },
    },
    new Uint8Array(10),
  );
  const found = await inside(source);
  const from = source.size - 10;
  expect(found?.made).toEqual({ settings, guide, given: ["label_map", "neighbours", "guide"] });
  expect(found?.more).toEqual([
    { name: "label_map", shape: [1, 2], from, to: from + 4 },
    { name: "neighbour.0", from: from + 4, to: from + 6 },
  ]);
});

test("attention is known by its layers", async () => {
  const found = await inside(record({ settings, layers: { cross: { mid: [2, 2] } } }));
  expect(found?.attention).toBe(true);
});

test("a start image beyond the end of the file is none", async () => {
  for (const data_offsets of [[0, 9999], [3, 3], [-5, 2], ["0", 2], undefined]) {
    const found = await inside(record({ settings }, { given_image: { data_offsets } }));
    expect(found?.image).toBeUndefined();
  }
});

test("an image's settings are found before its pixels", async () => {
  const source = file(
    SIGNATURE,
    header,
    words({ other: 1 }, "another"),
    words({ settings }),
    pixels,
  );
  expect(await inside(source)).toMatchObject({ kind: "image", made: { settings } });
  expect(source.count()).toBeLessThan(300);
});

test.each<[string, Uint8Array[]]>([
  ["nothing", []],
  ["a text", [text("twelve letters and more")]],
  ["a header longer than the file", [text("\x40\0\0\0\0\0\0\0{}  ")]],
  ["a header longer than any", [text("\xff\xff\xff\xff\xff\xff\xff\xff{}  ")]],
  ["a header that is no JSON", [text("\x05\0\0\0\0\0\0\0{{{{{ ")]],
  ["a header without a record", [text("\x04\0\0\0\0\0\0\0{}    ")]],
  ["an image without settings", [SIGNATURE, header, pixels]],
  ["an image with settings after its pixels", [SIGNATURE, header, pixels, words({ settings })]],
  ["a compressed text", [SIGNATURE, header, words({ settings }, "sdwidgets", "\x01\0\0\0")]],
  ["a text that is no object", [SIGNATURE, header, words([1])]],
  ["a text without settings", [SIGNATURE, header, words({ model: "m" })]],
  ["a text that is cut", [SIGNATURE, header, chunk("iTXt", text("sdwidgets\0\0"))]],
  ["a chunk longer than the file", [SIGNATURE, chunk("iTXt", text("a"), 2 ** 32 - 1)]],
  ["bytes that are no UTF-8", [SIGNATURE, chunk("iTXt", new Uint8Array([0xff, 0, 0, 0, 0, 0]))]],
])("%s says nothing", async (_, parts) => {
  expect(await inside(file(...parts))).toBeUndefined();
});

test("a file that cannot be read is not one that says nothing", async () => {
  const gone: Source = { size: 100, read: () => Promise.reject(new Error("gone")) };
  await expect(inside(gone)).rejects.toThrow("gone");
});
