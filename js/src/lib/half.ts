// Decodes float16; not every browser has Float16Array.

/** All 65,536 values, made on first use. */
let table: Float32Array | undefined;

function value(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1;
  const exponent = (bits >> 10) & 31;
  const fraction = bits & 1023;
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY;
  if (exponent === 0) return sign * fraction * 2 ** -24;
  return sign * (1 + fraction / 1024) * 2 ** (exponent - 15);
}

/** The float16 numbers in little-endian bytes. */
export function halves(data: Uint8Array): Float32Array {
  table ??= Float32Array.from({ length: 65_536 }, (_, bits) => value(bits));
  const out = new Float32Array(data.length >> 1);
  for (let i = 0; i < out.length; i++) {
    const bits = (data[2 * i] as number) | ((data[2 * i + 1] as number) << 8);
    out[i] = table[bits] as number;
  }
  return out;
}
