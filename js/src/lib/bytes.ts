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

/** An address of these bytes as a file of that type, to be given back with `revokeObjectURL`. */
export function addressOf(data: unknown, type: string): string {
  return URL.createObjectURL(new Blob([new Uint8Array(bytes(data))], { type }));
}
