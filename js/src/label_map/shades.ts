// The pixel of each class, its bytes in the order that a canvas has them.

import type { RGB } from "../lib/palette";

const known = new WeakMap<readonly RGB[], Uint32Array>();

export function shadesOf(colours: readonly RGB[]): Uint32Array {
  let made = known.get(colours);
  if (!made) {
    const bytes = new Uint8Array(256 * 4).fill(128);
    colours.forEach((colour, i) => {
      bytes.set([...colour, 255], 4 * i);
    });
    made = new Uint32Array(bytes.buffer);
    known.set(colours, made);
  }
  return made;
}
