/** What a front end may hand over for a binary value: Jupyter views, Colab arrays; where a message
 * has passed through JSON on its way, as in VS Code, plain lists of numbers. */
export type Binary = DataView | Uint8Array | ArrayBuffer | number[];

export const isBinary = (value: unknown): value is Binary =>
  ArrayBuffer.isView(value) ||
  value instanceof ArrayBuffer ||
  (Array.isArray(value) && typeof value[0] === "number");

/** The same bytes as a Uint8Array, whatever kind of view they came in. */
export function bytes(value: unknown): Uint8Array {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  return new Uint8Array(isBinary(value) ? (value as number[]) : []);
}

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Whether a file that begins so is a PNG. */
export const isPng = (start: Uint8Array) => PNG.every((byte, i) => start[i] === byte);

/** An address of these bytes as a file of that type, to be given back with `revokeObjectURL`. */
export function addressOf(data: unknown, type: string): string {
  return URL.createObjectURL(new Blob([new Uint8Array(bytes(data))], { type }));
}

/** Lets the browser save a file. */
export function saveFile(name: string, type: string, data: unknown) {
  const href = addressOf(data, type);
  const link = document.createElement("a");
  link.href = href;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(href), 60_000); // the browser reads it after the click
}
