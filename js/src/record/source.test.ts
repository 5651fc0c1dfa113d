import { expect, test, vi } from "vitest";
import { fileOf } from "../../test/records";
import {
  blobSource,
  bytesSource,
  openRecord,
  RefusedRecord,
  type Source,
  urlSource,
} from "./index";
import { readRanges } from "./source";

/** A server of one file, as far as `fetch` sees it. */
class Server {
  readonly asked: string[] = []; // the ranges
  tag = '"1"';
  ranges = true;
  status = 0; // to fail with
  data: Uint8Array;

  constructor(data: Uint8Array) {
    this.data = data;
  }

  readonly fetch = async (_: string, init: RequestInit): Promise<Response> => {
    init.signal?.throwIfAborted();
    const range = new Headers(init.headers).get("Range") ?? "";
    this.asked.push(range);
    if (this.status !== 0) return new Response("", { status: this.status, statusText: "Oops" });
    const headers: Record<string, string> = { ETag: this.tag };
    const body = (some: Uint8Array) => some as Uint8Array<ArrayBuffer>;
    if (!this.ranges) return new Response(body(this.data), { headers });
    const [from = 0, to = 0] = (range.match(/\d+/g) ?? []).map(Number);
    if (from >= this.data.length) return new Response("", { status: 416, headers });
    const end = Math.min(to + 1, this.data.length);
    headers["Content-Range"] = `bytes ${from}-${end - 1}/${this.data.length}`;
    return new Response(body(this.data.slice(from, end)), { status: 206, headers });
  };
}

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

test("a small file is read in one request beyond its start", async () => {
  const server = new Server(rich);
  const source = await urlSource("/a", { fetch: server.fetch });
  const file = await openRecord(source);
  await file.checked;
  await file.frames();
  expect(server.asked).toEqual(["bytes=0-65535"]);
  expect(rich.length).toBeLessThan(65_536);
  expect(file.model.get("header")).toMatchObject({ model: "golden" });
});

test("a server without ranges gives the whole file", async () => {
  const server = new Server(rich);
  server.ranges = false;
  const source = await urlSource("/a", { fetch: server.fetch });
  expect(await source.read(0, source.size)).toEqual(rich);
  expect(server.asked.length).toBe(1);
});

test("a file that changes while it is read is told", async () => {
  const server = new Server(new Uint8Array(200_000));
  const source = await urlSource("/a", { fetch: server.fetch });
  expect((await source.read(100_000, 100_010)).length).toBe(10);
  server.tag = '"2"';
  await expect(source.read(100_000, 100_010)).rejects.toThrow("has changed while it was read");
  server.tag = '"1"';
  server.data = new Uint8Array(150_000);
  await expect(source.read(100_000, 100_010)).rejects.toThrow("has changed while it was read");
  await expect(source.read(190_000, 190_010)).rejects.toThrow("has changed while it was read");
  server.ranges = false;
  await expect(source.read(100_000, 100_010)).rejects.toThrow("has changed while it was read");
});

test("a server that fails is quoted", async () => {
  const server = new Server(rich);
  server.status = 404;
  const opening = urlSource("/a", { fetch: server.fetch });
  await expect(opening).rejects.toThrow("The file cannot be read: the server says 404 Oops");
  await expect(opening).rejects.toBeInstanceOf(RefusedRecord);
});

test("an empty file is no recording", async () => {
  const server = new Server(new Uint8Array());
  const source = await urlSource("/a", { fetch: server.fetch });
  await expect(openRecord(source)).rejects.toThrow("is not a recording: its 0 bytes");
});

test("a signal ends it all", async () => {
  const server = new Server(new Uint8Array(200_000));
  const control = new AbortController();
  const source = await urlSource("/a", { fetch: server.fetch, signal: control.signal });
  control.abort(new Error("gone"));
  await expect(source.read(100_000, 100_001)).rejects.toThrow("gone");
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
