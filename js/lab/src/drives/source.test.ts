import { expect, test, vi } from "vitest";
import { blobSource } from "../../../src/lib/source";
import { openRecord } from "../../../src/record";
import { fileOf } from "../../../test/records";
import { CONTENT, type Drive, looksRuined, openSource, Unread, WHOLE } from "./source";

const BYTES = Uint8Array.from({ length: 200_000 }, (_, i) => (i * 7) % 251);
const base64 = (data: Uint8Array) =>
  btoa(Array.from(data, (one) => String.fromCharCode(one)).join(""));

interface Server {
  data: Uint8Array<ArrayBuffer>;
  modified: string;
  tag: string;
  shift: number; // of the part that is answered
  ranges: boolean;
  total: boolean;
  status?: number;
}

/** A drive whose addresses a server answers as jupyter_server does. */
function served(more: Partial<Server & Drive> = {}) {
  const server = {
    data: BYTES,
    modified: "Mon",
    tag: "1",
    shift: 0,
    ranges: true,
    total: true,
    ...more,
  };
  const asked: (string | null)[] = [];
  const drive: Drive = {
    address: async () => "http://here/files/a",
    async ask(_address, init) {
      const range = new Headers(init.headers).get("Range");
      asked.push(range);
      if (server.status) return new Response("no", { status: server.status, statusText: "Sorry" });
      const headers: Record<string, string> = {
        "Last-Modified": server.modified,
        ETag: server.tag,
      };
      if (!server.ranges || range === null) {
        headers["Content-Length"] = String(server.data.length);
        return new Response(server.data, { headers });
      }
      const [first = 0, second = 0] = range.slice(6).split("-").map(Number);
      const [from, last] = [first + server.shift, second + server.shift];
      const { length } = server.data;
      if (from >= length) return new Response("", { status: 416 });
      const end = Math.min(last, length - 1);
      if (server.total) headers["Content-Range"] = `bytes ${from}-${end}/${length}`;
      return new Response(server.data.slice(from, end + 1), { status: 206, headers });
    },
    size: async () => server.data.length,
    content: async () => {
      throw new Error("the contents API was asked");
    },
    ...more,
  };
  return { server, drive, asked };
}

function options(signal = new AbortController().signal) {
  return { signal, progress: vi.fn() };
}

const why = async (promise: Promise<unknown>) => {
  const error = await promise.then(
    () => undefined,
    (one: unknown) => one,
  );
  expect(error).toBeInstanceOf(Unread);
  return (error as Unread).why;
};

test("where the server answers Range requests, parts are fetched and no more", async () => {
  const { drive, asked } = served();
  const { source, way } = await openSource(drive, options());
  expect([source.size, way]).toEqual([BYTES.length, "parts"]);
  expect(await source.read(8, 20)).toEqual(BYTES.slice(8, 20));
  expect(await source.read(100_000, 100_010)).toEqual(BYTES.slice(100_000, 100_010));
  expect(asked).toEqual(["bytes=0-65535", "bytes=100000-100009"]);
});

test("a small record is read in one request", async () => {
  const rich = fileOf("rich") as Uint8Array<ArrayBuffer>;
  const { drive, asked } = served({ data: rich });
  const { source } = await openSource(drive, options());
  const file = await openRecord(source);
  await file.checked;
  await file.frames();
  expect(asked).toEqual(["bytes=0-65535"]);
  expect(rich.length).toBeLessThan(65_536);
  expect(file.model.get("header")).toMatchObject({ model: "golden" });
});

test("a server of another origin may hide the total, which the drive knows", async () => {
  const { drive, asked } = served({ total: false });
  const { source, way } = await openSource(drive, options());
  expect([source.size, way]).toEqual([BYTES.length, "parts"]);
  expect(await source.read(70_000, 70_002)).toEqual(BYTES.slice(70_000, 70_002));
  expect(asked).toHaveLength(2);
});

test("where nobody knows the size, the file is asked for again, whole", async () => {
  const { drive, asked } = served({ total: false, size: async () => undefined });
  const { source, way } = await openSource(drive, options());
  expect([source.size, way]).toEqual([BYTES.length, "whole"]);
  expect(asked).toEqual(["bytes=0-65535", null]);
});

test("a server that ignores Range is read once, whole, and tells how far it is", async () => {
  const { drive, asked } = served({ ranges: false });
  const told = options();
  const { source, way } = await openSource(drive, told);
  expect(way).toBe("whole");
  expect(await source.read(199_990, 200_000)).toEqual(BYTES.slice(199_990));
  expect(asked).toHaveLength(1);
  expect(told.progress).toHaveBeenLastCalledWith(BYTES.length, BYTES.length);
});

test("an empty file has no bytes", async () => {
  const { source } = await openSource(served({ data: new Uint8Array() }).drive, options());
  expect(source.size).toBe(0);
});

test("a file that is too large to be read whole is refused before it is", async () => {
  const ask = async () => {
    const body = new ReadableStream({ pull: () => Promise.reject(new Error("it was read")) });
    return new Response(body, { headers: { "Content-Length": String(WHOLE + 1) } });
  };
  expect(await why(openSource(served({ ask }).drive, options()))).toBe("large");
});

test.each([
  [404, "missing"],
  [403, "forbidden"],
  [500, "unreachable"],
])("the answer %i says why", async (status, reason) => {
  expect(await why(openSource(served({ status }).drive, options()))).toBe(reason);
});

test("a file that is replaced, cut or deleted while it is open is not mixed with the new one", async () => {
  const changes: [Partial<Server>, string][] = [
    [{ modified: "Tue" }, "changed"],
    [{ tag: "2" }, "changed"],
    [{ shift: 1 }, "changed"],
    [{ data: BYTES.slice(0, 150_000) }, "changed"],
    [{ data: BYTES.slice(0, 10) }, "changed"],
    [{ ranges: false }, "changed"],
    [{ status: 404 }, "missing"],
  ];
  for (const [change, reason] of changes) {
    const { server, drive } = served();
    const { source } = await openSource(drive, options());
    Object.assign(server, change);
    expect(await why(source.read(160_000, 170_000))).toBe(reason);
  }
});

test("a file that is renamed is read on at its new address", async () => {
  const { drive } = served();
  const asked: string[] = [];
  let name = "a";
  const moved = {
    ...drive,
    address: async () => name,
    ask: (address: string, init: RequestInit) => {
      asked.push(address);
      return drive.ask(address, init);
    },
  };
  const { source } = await openSource(moved, options());
  name = "b";
  await source.read(100_000, 100_001);
  expect(asked).toEqual(["a", "b"]);
});

test("only a drive without an address, or with one out of reach, gives base64", async () => {
  const content = vi.fn(async () => ({ format: "base64", content: base64(BYTES) }));
  const gone = async () => {
    throw new TypeError("Failed to fetch");
  };
  for (const more of [
    { address: async () => undefined },
    { address: async () => Promise.reject(new Error("no such thing")) },
    { ask: gone },
  ]) {
    const { source, way } = await openSource(served({ ...more, content }).drive, options());
    expect([source.size, way]).toEqual([BYTES.length, "content"]);
    expect(await source.read(70_000, 70_010)).toEqual(BYTES.slice(70_000, 70_010));
  }
  expect(content).toHaveBeenCalledTimes(3);
});

test("what would freeze the page in base64 is refused before it is asked for", async () => {
  const { drive } = served({ address: async () => undefined, size: async () => CONTENT + 1 });
  expect(await why(openSource(drive, options()))).toBe("large");
});

test("bytes that a drive took for text are told apart from a file of another kind", async () => {
  const text = new TextDecoder().decode(BYTES);
  const content = async () => ({ format: "text", content: text });
  const { drive } = served({ address: async () => undefined, content });
  expect(await why(openSource(drive, options()))).toBe("ruined");

  const ruined = blobSource(new Blob([text]));
  const plain = blobSource(new Blob(["only a text, with one \ufffd in it"]));
  const whole = blobSource(new Blob([BYTES]));
  expect(await Promise.all([ruined, plain, whole].map(looksRuined))).toEqual([true, false, false]);
});

test("closing the tab ends what is being read", async () => {
  const control = new AbortController();
  const { drive } = served();
  const { source } = await openSource(drive, options(control.signal));
  const asked = new Promise<void>((resolve) => {
    drive.ask = (_address, { signal }) =>
      new Promise((_, reject) => {
        signal?.addEventListener("abort", () => reject(signal.reason as Error));
        resolve();
      });
  });
  const reading = source.read(100_000, 100_010);
  await asked;
  control.abort();
  await expect(reading).rejects.toThrow(/abort/i);
});
