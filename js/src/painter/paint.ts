// What a tool leaves behind: levels of a mask, or a class.

export interface Paint {
  /** What shapes and fills leave. */
  readonly value: number;
  /** What the brush leaves of a pixel of which it covers a share, 1 to 255. */
  under(now: number, share: number): number;
  /** Whether a fill that begins on `first` goes over a pixel. */
  open(now: number, first: number): boolean;
}

const HALF = 128; // from here on, a pixel of a mask counts as painted

export const MASK: Paint = { value: 255, under: Math.max, open: (now) => now < HALF };

/** Takes from a mask as much as `MASK` gives. */
export const ERASER: Paint = {
  value: 0,
  under: (now, share) => Math.min(now, 255 - share),
  open: (now) => now >= HALF,
};

/** Leaves a class; a fill goes over all that touches and is of a class. */
export const paintOf = (value: number): Paint => ({
  value,
  under: () => value,
  open: (now, first) => now === first && first !== value,
});
