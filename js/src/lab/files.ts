// An image file on its way to the kernel, in parts that every server lets through.

import { bytes } from "../lib/bytes";
import { UPLOAD } from "../lib/contract";

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

/** A file's messages to the kernel, in order, each with its bytes. */
export async function partsOf(file: File, second: boolean) {
  const data = bytes(await file.arrayBuffer());
  const parts = Math.max(Math.ceil(data.length / PART), 1);
  const { name, size } = file;
  return Array.from({ length: parts }, (_, part) => {
    const message = { kind: "file", name, size, part, parts, second };
    return { message, data: data.slice(part * PART, (part + 1) * PART).buffer };
  });
}

/** The first file that was dropped or pasted; undefined if there is none. */
export function fileIn(transfer: DataTransfer | null): File | undefined {
  return transfer?.files[0] ?? undefined;
}
