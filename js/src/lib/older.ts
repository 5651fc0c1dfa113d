// Settings of version 0.1, converted as trace/older.py does, which says what has changed.

export type Values = Record<string, unknown>;

export const isWhole = (value: unknown): value is number => Number.isInteger(value);

/** The settings in today's format, of a record that names no format; not checked. */
export function converted(settings: Values, task: unknown): Values {
  const { schedule = "default", steps = 20, strength = 0.8, batch_size = 1, seed } = settings;
  const changed = { ...settings };
  if (schedule === "default") changed.schedule = "config";
  if (seed !== undefined) changed.seed = seeds(seed, batch_size);
  const isFromImage = task === "image to image" || task === "inpainting";
  if (isFromImage && isWhole(steps) && steps >= 1 && typeof strength === "number") {
    const taken = strength > 0 && strength <= 1 ? Math.floor(steps * strength) : 0;
    changed.strength = taken > 0 ? taken / steps : strength;
  }
  return changed;
}

/** A seed, or a list of them, of 32 bits. */
function seeds(seed: unknown, batch: unknown): unknown {
  if (Array.isArray(seed)) return seed.map((one) => seeds(one, 1));
  const known = isWhole(seed) && isWhole(batch) && batch >= 1 && batch <= 64;
  if (!known || seed + batch <= 2 ** 32) return seed;
  const all = Array.from({ length: batch }, (_, number) => (seed + number) % 2 ** 32);
  const first = all[0] as number;
  return all[batch - 1] === first + batch - 1 ? first : all;
}
