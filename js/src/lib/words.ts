// Numbers and names as people read them.

/** Seconds in at most three digits: "0.04 s", "1.2 s", "48 s", "3 min 20 s". */
export function duration(seconds: number): string {
  if (!Number.isFinite(seconds) || seconds < 0) return "–";
  if (seconds < 0.995) return `${seconds.toFixed(2)} s`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

/** A noise level, with two decimals below 100. */
export function level(sigma: number): string {
  if (!Number.isFinite(sigma)) return "–";
  return sigma < 100 ? sigma.toFixed(2) : sigma.toFixed(0);
}

/** A share as a number of percent, with a decimal below 10. */
export const percent = (share: number) =>
  (100 * share).toFixed(share >= 0.0005 && share < 0.0995 ? 1 : 0);

/** A number of any size in three digits; "–" if it is none. */
export function amount(value: unknown): string {
  if (typeof value !== "number" || !Number.isFinite(value)) return "–";
  const size = Math.abs(value);
  const few = size !== 0 && size < 0.001;
  const text = few ? value.toExponential(1) : value.toPrecision(3);
  const plain = size >= 999.5 ? value.toFixed(0) : text;
  return plain.replaceAll("-", "−");
}

const UNITS = ["B", "kB", "MB", "GB", "TB"];

/** "830 kB", "3.4 GB": at most three digits. */
export function bytesIn(count: number): string {
  let [value, unit] = [count, 0];
  while (value >= 999.5 && unit < UNITS.length - 1) {
    value /= 1000;
    unit++;
  }
  return `${unit === 0 || value >= 99.5 ? value.toFixed(0) : Number(value.toPrecision(2))} ${UNITS[unit]}`;
}

/** A file name from the words of the prompt and the seed. */
export function fileName(prompt: string, seed: number | undefined, type: string): string {
  const words = prompt
    .normalize("NFKD")
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-+|-+$/g, "")
    .slice(0, 48)
    .replace(/-+$/, "");
  const name = [words || "image", seed === undefined ? "" : `seed-${seed}`].filter(Boolean);
  return `${name.join("-")}.${type === "image/jpeg" ? "jpg" : "png"}`;
}
