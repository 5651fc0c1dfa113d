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
  prompts: string[]; // of its images, row by row; [] if they have none
}

const isType = one(...IMAGE_TYPES);

/** The sheet in a trait's value; undefined for an empty slot or anything that cannot be shown. */
export function sheetOf(value: unknown): Sheet | undefined {
  if (typeof value !== "object" || value === null) return undefined;
  const { step, data, type, size, rows, columns, prompts } = value as Record<string, unknown>;
  const [width, height] = Array.isArray(size) ? size : [];
  const numbers = [step, width, height, rows, columns];
  if (!numbers.every((one) => typeof one === "number" && one > 0)) return undefined;
  if (bytes(data).length === 0 || isType(type) === undefined) return undefined;
  const words = Array.isArray(prompts) ? prompts.map(String) : []; // earlier versions sent none
  return { data, type, step, width, height, rows, columns, prompts: words } as Sheet;
}

/** A sheet in words. */
export function spoken({ step, prompts }: Sheet): string {
  const said = prompts.map((prompt, i) => `${i + 1} ${prompt || "no prompt"}`);
  return [`images after step ${step}`, ...(said.length > 0 ? [said.join(", ")] : [])].join(": ");
}
