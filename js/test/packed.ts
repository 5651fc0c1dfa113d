// Records put together for tests: large ones, and ones with a digest that fits whatever they say.

export interface Part {
  type: "F16" | "F32" | "U8";
  shape: number[];
  fill?: (data: Uint8Array) => void;
}

const NONE = "0".repeat(64);
const SIZES = { F32: 4, F16: 2, U8: 1 };
const BEFORE = '"sdtrace":"{\\"sha256\\":\\"';

/** The digest of bytes. */
export async function digestOf(data: Uint8Array): Promise<string> {
  const digest = await crypto.subtle.digest("SHA-256", data as Uint8Array<ArrayBuffer>);
  return [...new Uint8Array(digest)].map((one) => one.toString(16).padStart(2, "0")).join("");
}

/** A file of that JSON and these tensors. */
export async function packed(meta: object, parts: Record<string, Part>): Promise<Uint8Array> {
  const text = JSON.stringify({ sha256: NONE, format: 1, ...meta });
  const header: Record<string, unknown> = { __metadata__: { sdtrace: text } };
  const order = Object.entries(parts).sort(
    ([a, one], [b, other]) => SIZES[other.type] - SIZES[one.type] || (a < b ? -1 : 1),
  );
  let end = 0;
  for (const [name, { type, shape }] of order) {
    const size = shape.reduce((product, side) => product * side, SIZES[type]);
    header[name] = { dtype: type, shape, data_offsets: [end, end + size] };
    end += size;
  }
  let json = JSON.stringify(header);
  json += " ".repeat(-new TextEncoder().encode(json).length & 7);
  const start = new TextEncoder().encode(json);
  const out = new Uint8Array(8 + start.length + end);
  new DataView(out.buffer).setUint32(0, start.length, true);
  out.set(start, 8);
  for (const [name, { fill }] of order) {
    const [from, to] = (header[name] as { data_offsets: [number, number] }).data_offsets;
    fill?.(out.subarray(8 + start.length + from, 8 + start.length + to));
  }
  return sealed(out);
}

/** The file with its own digest, where it has a place for one. */
export async function sealed(data: Uint8Array): Promise<Uint8Array> {
  const out = data.slice();
  const end = 8 + new DataView(out.buffer).getUint32(0, true);
  const letters = new TextDecoder("latin1").decode(out.subarray(0, end));
  const place = letters.indexOf(BEFORE, 8) + BEFORE.length;
  if (place < BEFORE.length || place + 64 > out.length) return out;
  out.fill(0x30, place, place + 64);
  out.set(new TextEncoder().encode(await digestOf(out)), place);
  return out;
}

/** A made-up run of some steps, with attention, in the order of a file of Python's. */
export function madeRecord(steps: number, side: number, layers = 2, more: object = {}) {
  const shape = [1, 4, side, side];
  const parts: Record<string, Part> = {};
  const one = (data: Uint8Array) => {
    for (let i = 1; i < data.length; i += 2) data[i] = 0x38 + (i % 8); // float16 from 0.5 to 1
  };
  for (let i = 0; i < steps; i++) {
    for (const part of ["x", "denoised", ...(i === steps - 1 ? ["x_next"] : [])]) {
      parts[`steps.${i}.${part}`] = { type: "F16", shape, fill: one };
    }
    for (let n = 0; n < layers; n++) {
      const name = `steps.${i}.attention.cross.${n}`;
      parts[name] = {
        type: "U8",
        shape: [1, 1, 5, 32, 32],
        fill: (data) => void data.fill(i + n),
      };
      parts[`${name}.scale`] = {
        type: "F32",
        shape: [1, 1, 5],
        fill: (data) => {
          const numbers = new DataView(data.buffer, data.byteOffset);
          for (let k = 0; k < data.length; k += 4) numbers.setFloat32(k, 0.5, true);
        },
      };
    }
  }
  const names = Array.from({ length: layers }, (_, i) => `up_blocks.${i}`);
  const spans = [
    [0, 1],
    [2, 5],
  ];
  const meta = {
    model: "made",
    task: "text to image",
    settings: { prompt: "a cat", steps, seed: 7, width: 8 * side, height: 8 * side },
    settings_format: 2,
    tokens: [{ prompt: "a cat", pieces: ["a", "cat"], spans, cut: "", slots: 77 }],
    negative_tokens: [],
    expected: steps,
    complete: true,
    run_seconds: null,
    notices: [],
    versions: {},
    fingerprint: "",
    schedule_sigmas: [],
    latents: shape,
    layers: { cross: Object.fromEntries(names.map((name) => [name, [32, 32]])) },
    steps: Array.from({ length: steps }, (_, index) => ({
      index,
      sigma: steps - index,
      sigma_next: steps - index - 1,
      seconds: null,
      parts: ["x", "denoised", ...(index === steps - 1 ? ["x_next"] : []), "attention.cross"],
    })),
    pictures: [],
    stored: { precision: "8-bit", "largest errors": {}, averaged: {} },
    ...more,
  };
  return packed(meta, parts);
}
