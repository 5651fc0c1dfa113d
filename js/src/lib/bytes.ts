/** What a front end may hand over for a binary value: Jupyter and VS Code views, Colab arrays. */
export type Binary = DataView | Uint8Array | ArrayBuffer;

/** The same bytes as a Uint8Array, whatever kind of view they came in. */
export function bytes(value: unknown): Uint8Array {
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  return new Uint8Array();
}

const PNG = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a];

/** Whether a file that begins so is a PNG. */
export const isPng = (start: Uint8Array) => PNG.every((byte, i) => start[i] === byte);

/** An address of these bytes as a file of that type, to be given back with `revokeObjectURL`. */
export function addressOf(data: unknown, type: string): string {
  return URL.createObjectURL(new Blob([new Uint8Array(bytes(data))], { type }));
}
