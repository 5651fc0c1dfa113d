import { expect, test } from "vitest";
import { bytesOf, fileOf, golden } from "../../test/records";
import { unpack } from "../lib/reel";
import { numbered } from "../lib/shared";
import { chunksOf } from "./images";
import { bytesSource, openComparison, openRecord } from "./index";

const open = (name: string) => openRecord(bytesSource(fileOf(name)), { name });
const files = Object.entries(golden.files);

/** The text in a PNG. */
function textIn(png: Uint8Array): string {
  const [, chunk] = [...chunksOf(png)];
  const start = (chunk?.from ?? 0) + "sdwidgets".length + 5;
  return new TextDecoder().decode(png.subarray(start, chunk?.to));
}

test.each(files)("%s: the traits are Python's", async (name, wanted) => {
  const file = await open(name);
  const images = await file.images;
  await file.checked;
  const { model } = file;
  expect(model.get("header")).toEqual(wanted.header);
  expect([model.get("state"), model.get("message")]).toEqual([wanted.state, wanted.message]);
  const pictures = (model.get("pictures") as { data?: unknown }[]).map(({ data, ...one }) => one);
  expect(pictures).toEqual(wanted.pictures);
  expect(file.settings).toEqual(wanted.settings);
  expect(file.meta.notices).toEqual(wanted.notices);
  // half a character has no UTF-8, so it is spelled
  const spell = (half: string) => `\\u${half.charCodeAt(0).toString(16)}`;
  expect(images.map(textIn)).toEqual(
    wanted.records.map((one) => one.replace(/[\ud800-\udfff]/gu, spell)),
  );
});

test.each(files)("%s: the frames are Python's, byte for byte", async (name, wanted) => {
  const file = await open(name);
  const frames = await file.frames();
  expect(frames.length).toBe(wanted.frames.length);
  for (const [i, frame] of frames.entries()) {
    const other = bytesOf(wanted.frames[i]);
    expect(unpack(frame)?.meta).toEqual(unpack(other)?.meta);
    expect(frame).toEqual(other);
    expect(file.model.get(numbered("frame")[i] as string)).toBe(frame);
  }
});

test("compared records say how they differ", async () => {
  const { of, are } = golden.labels;
  const { model, loaded } = openComparison(await Promise.all(of.map(open)));
  await loaded;
  expect(model.get("labels")).toEqual(are);
});
