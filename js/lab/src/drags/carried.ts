// What a drag carries, as far as that is known before it is dropped.

import { SETTINGS_TYPE } from "../../../src/lib/files";
import { isRecord } from "../../../src/lib/inside";

/** A file of a drive by its path, a file of the desktop, or settings from the side panel. */
export type Carried =
  | { kind: "path"; path: string }
  | { kind: "file"; file: File }
  | { kind: "settings"; made: unknown };

/** The type of files that are dragged from JupyterLab's file browser; the data are paths. */
export const CONTENTS_TYPE = "application/x-jupyter-icontents";

const IMAGE = /\.(png|jpe?g|webp|gif|bmp)$/i;

export const isPng = (name: string) => /\.png$/i.test(name);
export const isImage = (name: string) => IMAGE.test(name);
/** Whether a file of that name may say how it was made. */
export const mayTell = (name: string) => isRecord(name) || isPng(name);

/** What a Lumino drag carries; nothing of ours for most. */
export function carriedBy(data: {
  hasData(type: string): boolean;
  getData(type: string): unknown;
}): Carried[] {
  if (data.hasData(SETTINGS_TYPE)) {
    const made = parsed(data.getData(SETTINGS_TYPE));
    return made === undefined ? [] : [{ kind: "settings", made }];
  }
  const paths = data.hasData(CONTENTS_TYPE) ? data.getData(CONTENTS_TYPE) : [];
  const all: unknown[] = Array.isArray(paths) ? paths : [];
  return all.flatMap((path) => (typeof path === "string" ? [{ kind: "path", path }] : []));
}

function parsed(made: unknown): unknown {
  try {
    return typeof made === "string" ? JSON.parse(made) : made;
  } catch {
    return undefined;
  }
}

/** What the browser tells of a desktop's file while it is dragged: its type, if it knows that. */
export function mayTellByType(transfer: Pick<DataTransfer, "types" | "items">): boolean {
  if (transfer.types.includes(SETTINGS_TYPE)) return true;
  const files = [...transfer.items].filter(({ kind }) => kind === "file");
  // browsers know no type for .sdtrace
  return files.length > 0 && files.every(({ type }) => type === "image/png" || type === "");
}
