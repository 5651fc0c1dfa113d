// Bytes as people read them.

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
