// An image file on its way to the kernel, in parts that every server lets through.

import { bytes } from "./bytes";
import { UPLOAD } from "./contract";

const { largest: LARGEST, part: PART } = UPLOAD;

/** Why a file cannot be sent, in words; undefined if it can. */
export function refusal(file: { name: string; size: number }): string | undefined {
  if (file.size <= LARGEST) return undefined;
  const size = (file.size / 2 ** 20).toFixed(1);
  return (
    `${file.name || "The file"} has ${size} MB; at most ${LARGEST / 2 ** 20} MB are taken.\n` +
    "Save the image smaller and open that."
  );
}

/** What a file is of a recorded run, where it is no start image or mask. */
export interface Recorded {
  of: string; // its name
  shape?: readonly number[]; // of an array
}

/** A file's messages to the kernel, in order, each with its bytes. */
export async function partsOf(file: File, second: boolean, recorded?: Recorded) {
  const data = bytes(await file.arrayBuffer());
  const parts = Math.max(Math.ceil(data.length / PART), 1);
  const { name, size } = file;
  return Array.from({ length: parts }, (_, part) => {
    const message = { kind: "file", name, size, part, parts, second, ...recorded };
    return { message, data: data.slice(part * PART, (part + 1) * PART).buffer };
  });
}

type Part = Awaited<ReturnType<typeof partsOf>>[number];

/**
 * Returns a function that opens a file: it says so, reads the file and sends its parts. Of the files
 * for the same place, only the newest is sent, whichever is read first. It resolves with whether the file was sent.
 */
export function opener(
  say: (words: string, wrong: boolean) => void,
  send: (message: Part["message"], data: ArrayBuffer[]) => void,
) {
  const newest = new Map<string, File>();
  return async (file: File, second = false, recorded?: Recorded) => {
    const place = recorded?.of ?? String(second);
    newest.set(place, file);
    const problem = refusal(file);
    say(problem ?? `Opening ${file.name || "the image"}`, problem !== undefined);
    if (problem !== undefined) return false;
    return partsOf(file, second, recorded).then(
      (parts) => {
        if (file !== newest.get(place)) return false;
        for (const { message, data } of parts) send(message, [data]);
        return true;
      },
      () => {
        if (file === newest.get(place)) say(`${file.name || "The file"} cannot be read.`, true);
        return false;
      },
    );
  };
}

/** The type of dragged settings: JSON, as `Trace.record` returns it. */
export const SETTINGS_TYPE = "application/vnd.sdwidgets.settings+json";

/**
 * Takes files that are dropped on the root, or pasted while the focus is in it; returns the cleanup.
 * With `settings`, it also takes dragged settings, with the start image of the run if there is one;
 * with `all`, every file and not the first alone.
 *
 * While what it takes is over it, the root has the attribute `data-dropping`. A host with drags of
 * its own looks for the attribute `data-takes`, sets the other, and turns a drop into one of these.
 */
export function takeFiles(
  root: HTMLElement,
  open: (file: File) => void,
  settings?: (made: unknown, image?: File) => void,
  all = false,
): () => void {
  root.dataset.takes = settings ? "image record settings" : "image";
  const drag = (event: DragEvent) => {
    const { dataTransfer } = event;
    const isSettings = settings && dataTransfer?.types.includes(SETTINGS_TYPE);
    if (!dataTransfer || !(isSettings || dataTransfer.types.includes("Files"))) return;
    event.preventDefault(); // else the browser opens the file, or the notebook takes it
    event.stopPropagation();
    dataTransfer.dropEffect = "copy";
    root.toggleAttribute("data-dropping", event.type !== "dragleave");
  };
  const take = (transfer: DataTransfer | null, event: Event) => {
    root.removeAttribute("data-dropping");
    const file = transfer?.files[0];
    const made = settings && transfer ? readSettings(transfer) : undefined;
    if (file === undefined && made === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    if (made !== undefined) settings?.(made, file);
    else for (const each of all ? (transfer?.files ?? []) : [file as File]) open(each);
  };
  const paste = (event: ClipboardEvent) => {
    // Office programs add an image of the text that was copied. In a field, the text is meant.
    const isField = (event.target as Element | null)?.closest("input, textarea") != null;
    if (isField && event.clipboardData?.types.includes("text/plain")) return;
    take(event.clipboardData, event);
  };
  const off = new AbortController();
  const options = { signal: off.signal };
  for (const name of ["dragenter", "dragover", "dragleave"] as const) {
    root.addEventListener(name, drag, options);
  }
  root.addEventListener("drop", (event) => take(event.dataTransfer, event), options);
  root.addEventListener("paste", paste, options);
  return () => {
    off.abort();
    delete root.dataset.takes;
  };
}

/** The settings of a drop; undefined if there are none. */
export function readSettings(transfer: DataTransfer): unknown {
  if (!transfer.types.includes(SETTINGS_TYPE)) return undefined;
  try {
    return JSON.parse(transfer.getData(SETTINGS_TYPE));
  } catch {
    return undefined;
  }
}
