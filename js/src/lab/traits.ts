// The values of the kernel's traits, checked: a saved notebook may hold anything.

import { isBinary as binary } from "../lib/bytes";
import { LAB_STATES, TOUCHED } from "../lib/contract";
import { one } from "../lib/shared";
import type { Data } from "./view";

/** Whether a value is of a type. */
type Is = (value: unknown) => boolean;

const text: Is = (value) => typeof value === "string" && value.length <= 100_000;
const number: Is = (value) => typeof value === "number" && Number.isFinite(value);
const record: Is = (value) => typeof value === "object" && value !== null;
const size: Is = (value) => Number.isInteger(value) && Number(value) > 0 && Number(value) <= 4096;
const or =
  (...kinds: Is[]): Is =>
  (value) =>
    kinds.some((is) => is(value));
const nothing: Is = (value) => value === null;
const list =
  (is: Is, most = 4096): Is =>
  (value) =>
    Array.isArray(value) && value.length <= most && value.every(is);
const shape =
  (fields: Record<string, Is>): Is =>
  (value) =>
    record(value) &&
    Object.entries(fields).every(([name, is]) => is((value as Record<string, unknown>)[name]));

const maybe = or(number, nothing);
const place = { width: size, height: size };

const entry = shape({
  ...{ name: text, label: text, kind: text },
  ...{ factor: size, channels: number, codes: number, bits: number, ratio: number },
});
const sample = shape({ name: text, caption: text, data: binary });
const picture = shape({ ...place, name: text, data: binary, notices: list(text) });
const result = shape({
  ...{ name: text, data: binary, error: binary, error_max: number, notices: list(text) },
  ...{ psnr: maybe, ssim: maybe, perceptual: maybe, bits: maybe, seconds: number },
});
const codes = shape({
  ...{ count: number, indices: binary, used: number, perplexity: maybe, colours: binary },
});
const latents = shape({
  ...place,
  ...{ name: text, channels: size, mean: binary, std: or(binary, nothing), sample: binary },
  ...{ sample_data: binary, codes: or(codes, nothing) },
  stats: list(shape({ mean: maybe, std: maybe, min: maybe, max: maybe })),
});
const edited = shape({
  ...place,
  ...{ name: text, data: binary, channels: size, latents: binary, psnr: maybe },
  ...{ edits: list(text), applied: list(shape({ type: text })) },
  ...{ undone: number, undoable: number, directions: list(shape({ share: number })) },
});
const touch = shape({
  ...place,
  ...{ of: (value: unknown) => one(...TOUCHED)(value) !== undefined, x: number, y: number },
  ...{ data: binary, share: number },
});
const between = shape({
  ...place,
  ...{ name: text, steps: size, latent: list(binary), pixel: list(binary) },
});
const level = shape({
  ...{ t: number, sigma: number, snr_db: number, noisy: binary, latents: binary, guess: binary },
});
const noise = shape({ ...place, model: text, prompt: text, steps: list(level) });

const those =
  (is: Is) =>
  (value: unknown): unknown =>
    Array.isArray(value) ? value.slice(0, 256).filter(is) : [];
const if_ =
  (is: Is, otherwise?: unknown) =>
  (value: unknown): unknown =>
    is(value) ? value : otherwise;

const READ: Record<keyof Data, (value: unknown) => unknown> = {
  catalogue: those(entry),
  samples: those(sample),
  state: (value) => one(...LAB_STATES)(value) ?? "idle",
  message: if_(text, ""),
  can_send: (value) => value === true,
  picture: if_(picture),
  second: if_(picture),
  results: those(result),
  latents: if_(latents),
  edited: if_(edited),
  touch: if_(touch),
  between: if_(between),
  noise: if_(noise),
};

/** The traits that only the kernel sets. */
export const NAMES = Object.keys(READ) as (keyof Data)[];

/** A trait's value as data; empty if it is of another type. */
export function read<K extends keyof Data>(name: K, value: unknown): Data[K] {
  return READ[name](value) as Data[K];
}
