// Sheets of images that a training made on its way, from the kernel's traits.

import { type Binary, bytes } from "./bytes";
import { IMAGE_TYPES } from "./contract";
import { one } from "./shared";

export interface Sheet {
  step: number; // steps done when the sheet was made
  data: Binary;
  type: (typeof IMAGE_TYPES)[number];
  width: number; // of the whole sheet, in pixels
  height: number;
  rows: number;
  columns: number;
}

const isType = one(...IMAGE_TYPES);

/** The sheet in a trait's value; undefined for an empty slot or anything that cannot be shown. */
export function sheetOf(value: unknown): Sheet | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { step, data, type, size, rows, columns } = value as Record<string, unknown>;
  const [width, height] = Array.isArray(size) ? size : [];
  const numbers = [step, width, height, rows, columns];
  if (!numbers.every((one) => typeof one === "number" && one > 0)) return undefined;
  if (bytes(data).length === 0 || isType(type) === undefined) return undefined;
  return { data, type, step, width, height, rows, columns } as Sheet;
}
