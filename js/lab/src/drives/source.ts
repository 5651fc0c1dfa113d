// The bytes of a document: parts of the file, as they are needed, where its drive has an address
// that answers Range requests; else the whole file, with progress; through the contents API only
// where a drive has nothing else.

import { blobSource, type Source } from "../../../src/lib/source";

/** What a source needs of JupyterLab's drives, for one file. */
export interface Drive {
  /** The address of the file; undefined if the drive has none. */
  address(): Promise<string | undefined>;
  /** Fetches it, with the server's token where the address is the server's. */
  ask(address: string, init: RequestInit): Promise<Response>;
  /** Its size, if the drive knows it; no content. */
  size(): Promise<number | undefined>;
  /** Its content from the contents API. */
  content(): Promise<{ format: string | null | undefined; content: unknown }>;
}

/** Why the bytes of a file cannot be had. */
export type Why = "missing" | "forbidden" | "unreachable" | "changed" | "large" | "ruined";

export class Unread extends Error {
  override readonly name = "Unread";
  constructor(
    readonly why: Why,
    readonly limit = 0, // bytes, for "large"
    message: string = why,
  ) {
    super(message);
  }
}

export interface Opened {
  source: Source;
  way: "parts" | "whole" | "content";
}

export interface Options {
  signal: AbortSignal;
  /** Called while a whole file is read; `size` is 0 if it is not known. */
  progress(done: number, size: number): void;
}

const FIRST = 1 << 16; // bytes read to find out how the file can be read, and kept
/** The most bytes of a file that is read whole. */
export const WHOLE = 500_000_000;
/** The most bytes of a file in base64, which the browser decodes while the page waits. */
export const CONTENT = 100_000_000;

export async function openSource(drive: Drive, options: Options): Promise<Opened> {
  const address = await drive.address().catch(() => undefined);
  const found = address ? await openAddress(drive, address, options) : undefined;
  if (found !== undefined) return found;
  return { source: blobSource(await contentOf(drive, options)), way: "content" };
}

/** Undefined if the address cannot be fetched from this page, which the contents API may do. */
async function openAddress(drive: Drive, address: string, options: Options) {
  const { signal } = options;
  const response = await drive.ask(address, part(0, FIRST, signal)).catch((error: unknown) => {
    if (signal.aborted) throw error;
    return undefined;
  });
  if (response === undefined) return undefined;
  if (response.status === 416) return { source: blobSource(new Blob()), way: "parts" } as const;
  if (!response.ok) throw refusalOf(response);
  const size =
    response.status === 206 ? (rangeOf(response)?.size ?? (await drive.size())) : undefined;
  if (size === undefined) {
    // Without a total, an answered part says nothing of the rest: the request is made without.
    const whole = response.status === 206 ? await drive.ask(address, { signal }) : response;
    if (!whole.ok) throw refusalOf(whole);
    return { source: blobSource(await wholeOf(whole, options)), way: "whole" } as const;
  }
  const start = new Uint8Array(await response.arrayBuffer());
  const source = new Parts(drive, size, start, version(response), signal);
  return { source, way: "parts" } as const;
}

const part = (from: number, to: number, signal: AbortSignal): RequestInit => ({
  headers: { Range: `bytes=${from}-${to - 1}` },
  cache: "no-store", // a browser's cache would hold the file a second time
  signal,
});

/** Where an answered part begins, and the size of the file; servers of other origins may not tell. */
function rangeOf({ headers }: Response): { from: number; size: number } | undefined {
  const found = /^bytes (\d+)-\d+\/(\d+)$/.exec(headers.get("Content-Range") ?? "");
  return found ? { from: Number(found[1]), size: Number(found[2]) } : undefined;
}

/** What changes when the file is replaced; servers of other origins may not tell. */
const version = ({ headers }: Response) =>
  [headers.get("ETag"), headers.get("Last-Modified")].join(" ");

function refusalOf({ status, statusText }: Response): Unread {
  if (status === 404 || status === 410) return new Unread("missing");
  if (status === 401 || status === 403) return new Unread("forbidden");
  return new Unread("unreachable", 0, `${status} ${statusText}`.trim());
}

/** A file of which parts are fetched. */
class Parts implements Source {
  constructor(
    private readonly drive: Drive,
    readonly size: number,
    private readonly start: Uint8Array,
    private readonly version: string,
    private readonly signal: AbortSignal,
  ) {}

  async read(from: number, to: number, own?: AbortSignal): Promise<Uint8Array> {
    own?.throwIfAborted();
    if (to <= this.start.length) return this.start.slice(from, to);
    const { signal } = this;
    let response: Response;
    try {
      const address = (await this.drive.address()) ?? ""; // it moves with the file
      response = await this.drive.ask(address, part(from, to, own ?? signal));
    } catch (error) {
      if (signal.aborted || own?.aborted) throw error;
      throw new Unread("unreachable", 0, String((error as Error)?.message ?? error));
    }
    const range = rangeOf(response) ?? { from, size: this.size };
    const isMoved = range.from !== from || range.size !== this.size;
    const isOther = isMoved || version(response) !== this.version;
    if (response.status === 416 || response.status === 200 || (response.ok && isOther)) {
      await response.body?.cancel();
      throw new Unread("changed");
    }
    if (!response.ok) throw refusalOf(response);
    const data = new Uint8Array(await response.arrayBuffer());
    if (data.length !== to - from) throw new Unread("changed");
    return data;
  }
}

/** The whole of an answer, as it comes. */
async function wholeOf(response: Response, { signal, progress }: Options): Promise<Blob> {
  const length = Number(response.headers.get("Content-Length") ?? 0);
  const parts: Uint8Array<ArrayBuffer>[] = [];
  const reader = response.body?.getReader();
  let done = 0;
  const stop = async () => {
    await reader?.cancel();
    throw new Unread("large", WHOLE);
  };
  if (length > WHOLE) await stop();
  while (reader) {
    const { value } = await reader.read().catch((error: unknown) => {
      if (signal.aborted) throw error;
      throw new Unread("unreachable", 0, String((error as Error)?.message ?? error));
    });
    if (value === undefined) break;
    parts.push(value);
    done += value.length;
    if (done > WHOLE) await stop();
    progress(done, length);
  }
  return new Blob(parts);
}

const LETTERS = 1 << 22; // of base64, decoded before the page gets its turn

/** The file as the contents API gives it. */
async function contentOf(drive: Drive, { signal, progress }: Options): Promise<Blob> {
  const size = await drive.size();
  if (size !== undefined && size > CONTENT) throw new Unread("large", CONTENT);
  const { format, content } = await drive.content();
  if (typeof content !== "string") throw new Unread("unreachable");
  if (format !== "base64") {
    if (isRuined(content)) throw new Unread("ruined");
    return new Blob([content]);
  }
  const letters = content.replace(/\s+/g, "");
  const parts: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 0; at < letters.length; at += LETTERS) {
    signal.throwIfAborted();
    let bytes: string;
    try {
      bytes = atob(letters.slice(at, at + LETTERS));
    } catch {
      throw new Unread("ruined");
    }
    parts.push(Uint8Array.from(bytes, (letter) => letter.charCodeAt(0)));
    progress(Math.min(at + LETTERS, letters.length), letters.length);
    await new Promise((next) => setTimeout(next));
  }
  return new Blob(parts);
}

const REPLACED = "\ufffd"; // stands for bytes that are no UTF-8
const MOST_REPLACED = 8; // in so few bytes, none of our files has as many by chance

const isRuined = (text: string) => text.slice(0, FIRST).split(REPLACED).length > MOST_REPLACED;

/**
 * Whether a drive took the file for text when it read or wrote it: then all of it is UTF-8, and the
 * mark of a replaced byte is in many places.
 */
export async function looksRuined(source: Source): Promise<boolean> {
  const start = await source.read(0, Math.min(source.size, FIRST));
  try {
    // A letter may be cut at the end.
    return isRuined(new TextDecoder("utf-8", { fatal: true }).decode(start, { stream: true }));
  } catch {
    return false;
  }
}
