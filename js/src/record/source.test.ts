import { expect, test, vi } from "vitest";
import { fileOf } from "../../test/records";
import { blobSource, type Source } from "../lib/source";
import { bytesSource, openRecord } from "./index";
import { readRanges } from "./source";

/** Made of some bytes at the front and very many zeros; it counts what is read. */
function longer(data: Uint8Array, size: number) {
  const read: [number, number][] = [];
  const source: Source = {
    size,
    async read(from, to) {
      read.push([from, to]);
      const out = new Uint8Array(to - from);
      out.set(data.subarray(from, to));
      return out;
    },
  };
  return { source, read };
}

const rich = fileOf("rich");

test("an empty file is no recording", async () => {
  await expect(openRecord(bytesSource(new Uint8Array()))).rejects.toThrow(
    "is not a recording: its 0 bytes",
  );
});

test("a signal ends it all", async () => {
  const control = new AbortController();
  control.abort(new Error("gone"));
  await expect(blobSource(new Blob(["a"])).read(0, 1, control.signal)).rejects.toThrow("gone");
  const opening = openRecord(bytesSource(rich), { signal: control.signal });
  await expect(opening).rejects.toThrow("gone");
});

test("a blob is read in parts", async () => {
  const blob = new Blob([rich as Uint8Array<ArrayBuffer>]);
  const source = blobSource(blob);
  expect(await source.read(8, 40)).toEqual(rich.subarray(8, 40));
  const file = await openRecord(source, { name: "rich" });
  await file.checked;
  expect((await file.frames()).length).toBe(3);
});

test("a blob whose file is gone is told", async () => {
  const blob = new Blob(["a"]);
  vi.spyOn(blob, "slice").mockReturnValue({
    arrayBuffer: () => Promise.reject(new Error("NotReadable")),
  } as never);
  await expect(openRecord(blobSource(blob))).rejects.toThrow("is gone: open it again");
});

test("ranges that lie close together are one request", async () => {
  const { source, read } = longer(
    Uint8Array.from({ length: 100 }, (_, i) => i),
    10 ** 6,
  );
  const ranges = [
    { from: 50, to: 60 },
    { from: 0, to: 10 },
    { from: 5, to: 8 },
    { from: 900_000, to: 900_001 },
    { from: 10, to: 10 },
  ];
  const found = await readRanges(source, ranges);
  expect(read).toEqual([
    [0, 60],
    [900_000, 900_001],
  ]);
  expect(found.map((one) => one.length)).toEqual([10, 10, 3, 1, 0]);
  expect([...(found[0] as Uint8Array)]).toEqual([50, 51, 52, 53, 54, 55, 56, 57, 58, 59]);
});
