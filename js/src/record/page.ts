// A record as one page that plays anywhere, as `Trace.export_html` writes it (trace/page.py).

import { EXPORT_LIMITS, EXPORTED, NUMBERED, PAGE } from "../lib/contract";
import { numbered } from "../lib/shared";
import type { Picture } from "../lib/show";
import { about, headline, lineOf, sizeOf, summary } from "./about";
import { imageInfo } from "./images";
import { first, shortened } from "./python";
import type { RecordFile } from "./record";
import { RefusedRecord } from "./refused";
import { tenths, totalOf } from "./said";
import { Sha256 } from "./sha256";

/** The built viewer, as text: standalone.js and standalone.css. */
export interface Built {
  readonly script: string;
  readonly style: string;
}

/** The page's HTML. Rejects with `RefusedRecord` for a record without steps. Nothing that a person
 * wrote can become markup, and the page's own policy allows its one script alone. */
export async function pageOf(file: RecordFile, { script, style }: Built): Promise<string> {
  const record = file.unpacked;
  if (record.steps.length === 0) throw new RefusedRecord("This record has no steps to show.");
  const images = await file.images;
  const state = await stateOf(file);
  const { panels } = state;
  const made = images[0] && imageInfo(images[0]);
  const size = sizeOf(record, made && [made.width, made.height]);
  const title = first(lineOf(record), EXPORT_LIMITS.title);
  const rows = about(record, size).map(
    ([name, text]) => `<div><dt>${escaped(name)}</dt><dd dir="auto">${escaped(text)}</dd></div>`,
  );
  const digest = new Sha256().update(new TextEncoder().encode(script)).hex();
  const [picture] = state.pictures;
  const parts: Record<string, string> = {
    root: EXPORTED.root,
    place: EXPORTED.data,
    policy: filled(PAGE.policy, { digest: base64(fromHex(digest)) }),
    title: escaped(`${title || "A run"} – sdwidgets`),
    heading: escaped(shortened(headline(record), EXPORT_LIMITS.title)),
    summary: escaped(summary(record, size).join(" · ")),
    absent: panels.includes("attention") ? "" : PAGE.absent,
    about: rows.join("\n"),
    style,
    still: still(picture, escaped(`Image for: ${title || "no prompt"}`)),
    data: asJson({ widget: "viewer", state }),
    script,
  };
  // half a character has no UTF-8
  return filled(PAGE.document, parts).replace(/[\ud800-\udfff]/gu, "?");
}

/** What stands in the page where scripts are off. */
function still(picture: Picture | undefined, description: string): string {
  const said = "<p>This run of a diffusion model can be played where scripts may run.";
  if (picture === undefined) return `${said}</p>`;
  const data = base64(picture.data as Uint8Array);
  const source = `data:${picture.type};base64,${data}`;
  return `${said} Its image:</p>\n<img src="${source}" alt="${description}" style="max-width: 100%">`;
}

/** The viewer's traits; those missing here have their defaults. */
async function stateOf(file: RecordFile) {
  const record = file.unpacked;
  const frames = await file.framesWithin(EXPORT_LIMITS.run, NUMBERED.frame);
  const pictures = file.model.get("pictures") as Picture[];
  const names = numbered("frame");
  const said = `${record.steps.length} steps in ${tenths(totalOf(record))} s`;
  return {
    header: file.header,
    ...Object.fromEntries(frames.map((frame, i) => [names[i], frame])),
    pictures: await Promise.all(pictures.map(({ data }) => smaller(data as Uint8Array))),
    state: record.complete ? "done" : "stopped",
    message: [said, ...record.notices].slice(0, 3).join("\n"),
    panels: file.model.get("panels") as string[],
  };
}

/** An image's file; of a large one, a JPEG where the browser can make it. */
async function smaller(data: Uint8Array): Promise<Picture> {
  const png: Picture = { data, type: "image/png" };
  if (data.length <= EXPORT_LIMITS.image || typeof OffscreenCanvas === "undefined") return png;
  const image = await createImageBitmap(new Blob([data as Uint8Array<ArrayBuffer>]));
  const canvas = new OffscreenCanvas(image.width, image.height);
  canvas.getContext("2d")?.drawImage(image, 0, 0);
  image.close();
  const jpeg = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  return { data: new Uint8Array(await jpeg.arrayBuffer()), type: "image/jpeg" };
}

/** A text with values in place of its names in braces. */
const filled = (text: string, values: Record<string, string>) =>
  text.replace(/\{(\w+)\}/g, (_, name: string) => values[name] as string);

const MARKUP: Record<string, string> = {
  "&": "&amp;",
  "<": "&lt;",
  ">": "&gt;",
  '"': "&quot;",
  "'": "&#x27;",
};

const escaped = (text: string) => text.replace(/[&<>"']/g, (letter) => MARKUP[letter] as string);

/** JSON that is safe in a script element: ASCII, without characters that mean something in HTML. */
function asJson(value: unknown): string {
  const text = JSON.stringify(value, (_, one: unknown) =>
    one instanceof Uint8Array ? { [EXPORTED.bytes]: base64(one) } : one,
  );
  return text.replace(/[<>&]|[^ -~]/g, (letter) => {
    return `\\u${letter.charCodeAt(0).toString(16).padStart(4, "0")}`;
  });
}

const PART = 0x6000; // bytes at once, a multiple of 3: a call takes so many arguments

function base64(data: Uint8Array): string {
  let text = "";
  for (let at = 0; at < data.length; at += PART) {
    text += btoa(String.fromCharCode(...data.subarray(at, at + PART)));
  }
  return text;
}

const fromHex = (text: string) =>
  Uint8Array.from(text.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
