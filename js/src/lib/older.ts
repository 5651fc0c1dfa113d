// Settings of earlier versions, converted as trace/older.py does, which says what has changed.

import { times } from "./numbers";

export type Values = Record<string, unknown>;

type Whole = number | bigint; // where JSON keeps Python's whole numbers apart, they are bigints

const isWhole = (value: unknown, most: number, least = 1): value is Whole =>
  (typeof value === "bigint" || Number.isInteger(value)) &&
  (value as Whole) >= least &&
  (value as Whole) <= most;

const isNumber = (value: unknown) => ["number", "bigint", "boolean"].includes(typeof value);

/** The settings in today's format, of a run's record; not checked. `one`: 1 as numbers are kept. */
export function converted(
  settings: Values,
  { settings_format: format = 1, task }: { settings_format?: unknown; task?: unknown },
  one: Whole = 1,
): Values {
  if (!isNumber(format) || ![1, 2, 3].includes(Number(format))) return settings;
  const steps = typeof one === "bigint" ? 20n : 20;
  const named: Values = { steps, sampler: "dpmpp_2m", ...settings };
  if (isNumber(named.eta) && Number(named.eta) === 0) named.eta = null;
  if (Number(format) === 3) return named;
  const read = { weights: "none", chunks: one, ...named };
  return Number(format) === 1 ? ofFirst(read, task) : read;
}

function ofFirst(settings: Values, task: unknown): Values {
  const { schedule = "default", steps = 20, strength = 0.8, batch_size = 1, seed } = settings;
  const changed = { ...settings };
  if (schedule === "default") changed.schedule = "config";
  if (seed !== undefined) changed.seed = seeds(seed, batch_size);
  const isFromImage = task === "image to image" || task === "inpainting";
  if (isFromImage && isWhole(steps, 1e6) && isNumber(strength)) {
    const share = Number(strength);
    const taken = share > 0 && share <= 1 ? Math.floor(Number(steps) * share) : 0;
    changed.strength = taken > 0 ? taken / Number(steps) : strength;
  }
  return changed;
}

/** A seed, or a list of them, of 32 bits. */
function seeds(seed: unknown, batch: unknown): unknown {
  if (Array.isArray(seed)) return seed.map((one) => seeds(one, 1));
  const isKnown = isWhole(seed, Number.POSITIVE_INFINITY, 0) && isWhole(batch, 64);
  if (!isKnown || Number(seed) + Number(batch) <= 2 ** 32) return seed;
  const all = times(Number(batch), (i) => Number((BigInt(seed) + BigInt(i)) % 2n ** 32n));
  const first = all[0] as number;
  const found = all.at(-1) === first + all.length - 1 ? first : all;
  if (typeof seed === "number") return found;
  return Array.isArray(found) ? found.map(BigInt) : BigInt(found);
}
