// Small things about numbers.

/** Whether it is a finite number. */
export const isNumber = (value: unknown): value is number => Number.isFinite(value);

/** Whether it is a whole number from `least` to `most`. */
export const isWhole = (value: unknown, most: number, least = 1): value is number =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

/** The nearest number from `least` to `most`. */
export const clamp = (value: number, least: number, most: number) =>
  Math.min(Math.max(value, least), most);

/** `make` of 0, 1, ...: so many values. */
export const times = <T>(count: number, make: (i: number) => T): T[] =>
  Array.from({ length: count }, (_, i) => make(i));
