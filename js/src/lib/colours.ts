// Colour maps: from 0..1 to a colour.

import { clamp } from "./numbers";
import type { Selection } from "./selection";

export type Colormap = Selection["colormap"];

// Every fifth of matplotlib's 256 colours, as RRGGBB; in between, within 1/255. Both maps are by
// Nathaniel Smith and Stéfan van der Walt, given to the public domain (CC0).
const KNOTS: Record<Colormap, string> = {
  magma:
    "00000402020b0504160907200e0b2b140e361a104221114e29115a311165390f6e420f754a1079" +
    "52137c5a167e6219806a1c81721f81792282812581892881912b81992d80a1307eaa337db2357b" +
    "ba3878c23b75ca3e72d2426fd9466be04c67e75263ec5860f1605df4695cf7725cf97b5dfb8560" +
    "fc8e64fd9869fea16efeaa74feb47bfebd82fec68afecf92fed89afde2a3fdebacfcf4b6fcfdbf",
  viridis:
    "44015446085c471063481769481d6f482475472a7a46307e453781433d844142873f48893d4e8a" +
    "3a538b38598c355e8d33638d31688e2e6d8e2c718e2a768e297b8e27808e25848e23898e218e8d" +
    "20928c1f978b1e9c891fa18821a58524aa8328ae802eb37c35b7793dbc7446c06f50c46a5ac864" +
    "65cb5e70cf577cd25089d54895d840a2da37b0dd2fbddf26cae11fd8e219e5e419f1e51dfde725",
  grey: "000000ffffff",
};

const known = new Map<Colormap, Uint8Array>();

/** The map's colours [256, 3], from 0 up. */
export function colours(map: Colormap): Uint8Array {
  let table = known.get(map);
  if (!table) {
    table = spread(KNOTS[map] ?? KNOTS.magma);
    known.set(map, table);
  }
  return table;
}

function spread(knots: string): Uint8Array {
  const last = knots.length / 6 - 1;
  const at = (knot: number, channel: number) =>
    Number.parseInt(knots.slice(6 * knot + 2 * channel, 6 * knot + 2 * channel + 2), 16);
  const table = new Uint8Array(256 * 3);
  for (let i = 0; i < 256; i++) {
    const here = (i / 255) * last;
    const knot = Math.min(Math.floor(here), last - 1);
    for (let channel = 0; channel < 3; channel++) {
      const [from, to] = [at(knot, channel), at(knot + 1, channel)];
      table[3 * i + channel] = Math.round(from + (to - from) * (here - knot));
    }
  }
  return table;
}

/** Opaque RGBA of values 0..1, for ImageData. */
export function coloured(values: Float32Array, map: Colormap): Uint8ClampedArray<ArrayBuffer> {
  const table = colours(map);
  const out = new Uint8ClampedArray(4 * values.length);
  for (let i = 0; i < values.length; i++) {
    const from = 3 * clamp(Math.round((values[i] as number) * 255), 0, 255);
    out[4 * i] = table[from] as number;
    out[4 * i + 1] = table[from + 1] as number;
    out[4 * i + 2] = table[from + 2] as number;
    out[4 * i + 3] = 255;
  }
  return out;
}

/** RGB to RGBA, opaque: what ImageData wants. */
export function rgba(rgb: Uint8Array): Uint8ClampedArray<ArrayBuffer> {
  const pixels = Math.floor(rgb.length / 3);
  const out = new Uint8ClampedArray(pixels * 4);
  for (let i = 0, from = 0, to = 0; i < pixels; i++) {
    out[to++] = rgb[from++] as number;
    out[to++] = rgb[from++] as number;
    out[to++] = rgb[from++] as number;
    out[to++] = 255;
  }
  return out;
}
