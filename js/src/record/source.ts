// Where the bytes of a file come from: memory, a File, or an address that answers Range requests.

import { RECORD } from "../lib/contract";
import { commas } from "./python";
import { RefusedRecord, Unreadable } from "./refused";

/** A file's bytes. `read` may be called many times at once; it rejects once the file has changed. */
export interface Source {
  readonly size: number;
  /** The bytes from `from` up to but without `to`; both are within the file. */
  read(from: number, to: number, signal?: AbortSignal): Promise<Uint8Array>;
}

/** Bytes in memory. */
export function bytesSource(data: Uint8Array): Source {
  return { size: data.length, read: async (from, to) => data.subarray(from, to) };
}

/** A source whose first bytes are here already. */
export const keeping = (source: Source, start: Uint8Array): Source => ({
  size: source.size,
  read: async (from, to, signal) =>
    to <= start.length ? start.subarray(from, to) : source.read(from, to, signal),
});

/** A Blob or a File, which is read as it is asked for. */
export function blobSource(blob: Blob): Source {
  return {
    size: blob.size,
    async read(from, to, signal) {
      signal?.throwIfAborted();
      try {
        return new Uint8Array(await blob.slice(from, to).arrayBuffer());
      } catch {
        throw new RefusedRecord("The file has changed on the disk, or is gone: open it again.");
      }
    },
  };
}

export interface UrlOptions {
  signal?: AbortSignal;
  /** Instead of the page's own `fetch`: to send tokens, say. */
  fetch?: (url: string, init: RequestInit) => Promise<Response>;
}

/** The first bytes that are asked for, which hold most headers. */
const START = 65_536;

/** A file at an address. Where the server does not answer Range requests, it is read whole. */
export async function urlSource(url: string, options: UrlOptions = {}): Promise<Source> {
  const { signal, fetch: get = (address, init) => fetch(address, init) } = options;
  const ask = async (from: number, to: number, own?: AbortSignal) => {
    const signals = [signal, own].filter((one) => one !== undefined);
    const headers = { Range: `bytes=${from}-${to - 1}` };
    const init = { headers, cache: "no-store", signal: anyOf(signals) } as RequestInit;
    return get(url, init);
  };
  const first = await ask(0, START);
  if (first.status === 416) return bytesSource(new Uint8Array()); // no byte is there
  if (!first.ok) throw failed(first);
  const whole = first.status === 206 ? rangeOf(first) : undefined;
  if (whole === undefined) return bytesSource(await wholeOf(first));
  const start = new Uint8Array(await first.arrayBuffer());
  const { size } = whole;
  const identity = identityOf(first);
  const rest: Source = {
    size,
    async read(from, to, own) {
      const response = await ask(from, to, own);
      if (response.status !== 206 && response.status !== 416) {
        void response.body?.cancel();
        throw response.ok ? changed() : failed(response);
      }
      const range = rangeOf(response);
      if (range?.size !== size || range.from !== from || identityOf(response) !== identity) {
        void response.body?.cancel();
        throw changed();
      }
      const data = new Uint8Array(await response.arrayBuffer());
      if (data.length !== to - from) throw changed();
      return data;
    },
  };
  return keeping(rest, start);
}

const changed = () => new RefusedRecord("The file has changed while it was read: open it again.");

const failed = ({ status, statusText }: Response) =>
  new RefusedRecord(`The file cannot be read: the server says ${status} ${statusText}`.trimEnd());

/** What a server says of a file's state. */
const identityOf = ({ headers }: Response) =>
  `${headers.get("ETag") ?? ""} ${headers.get("Last-Modified") ?? ""}`;

function rangeOf({ headers }: Response): { from: number; size: number } | undefined {
  const found = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("Content-Range") ?? "");
  return found ? { from: Number(found[1]), size: Number(found[2]) } : undefined;
}

/** The body of an answer, up to the largest record. */
async function wholeOf(response: Response): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let size = 0;
  const reader = response.body?.getReader();
  for (;;) {
    const { done, value } = (await reader?.read()) ?? { done: true, value: undefined };
    if (done || value === undefined) break;
    parts.push(value);
    size += value.length;
    if (size > RECORD.file) {
      void reader?.cancel();
      throw new Unreadable(`has more than ${commas(RECORD.file)} bytes, the most of a recording`);
    }
  }
  const all = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** A signal that aborts as soon as one of these does; undefined without any. */
function anyOf(signals: AbortSignal[]): AbortSignal | undefined {
  if (signals.length < 2) return signals[0];
  const both = new AbortController();
  for (const one of signals) {
    if (one.aborted) both.abort(one.reason);
    one.addEventListener("abort", () => both.abort(one.reason), { once: true });
  }
  return both.signal;
}

/** Reads several ranges, those that lie close together at once; returns the bytes of each. */
export async function readRanges(
  source: Source,
  ranges: readonly { from: number; to: number }[],
  signal?: AbortSignal,
  gap = 65_536,
): Promise<Uint8Array[]> {
  const order = ranges.map((_, i) => i);
  order.sort((a, b) => (ranges[a]?.from ?? 0) - (ranges[b]?.from ?? 0));
  const merged: { from: number; to: number; held: number[] }[] = [];
  for (const i of order) {
    const { from, to } = ranges[i] as { from: number; to: number };
    const last = merged.at(-1);
    if (last !== undefined && from - last.to <= gap) {
      last.to = Math.max(last.to, to);
      last.held.push(i);
    } else {
      merged.push({ from, to, held: [i] });
    }
  }
  const found: Uint8Array[] = [];
  const take = async ({ from, to, held }: (typeof merged)[number]) => {
    const data = to > from ? await source.read(from, to, signal) : new Uint8Array();
    for (const i of held) {
      const { from: start, to: end } = ranges[i] as { from: number; to: number };
      found[i] = data.subarray(start - from, end - from);
    }
  };
  await Promise.all(merged.map(take));
  return found;
}
