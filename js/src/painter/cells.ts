// The mask as the network sees it: a level for each latent cell, as `painting.cells` in Python.

import type { FITS } from "../lib/contract";
import { clamp } from "../lib/numbers";
import type { Plane, Size } from "./plane";

export interface Run {
  readonly size: readonly [width: number, height: number] | null; // null: the image's own
  readonly fit: (typeof FITS)[number];
  readonly factor: number; // pixels along a side of a cell
  readonly pad: readonly [left: number, top: number, right: number, bottom: number];
}

export interface Cells extends Plane {
  /** Where they lie on the image, in its pixels; perhaps beyond its edges. */
  readonly area: {
    readonly x: number;
    readonly y: number;
    readonly width: number;
    readonly height: number;
  };
}

const OVERLAP = 4; // cells of the seam beside new area, as in `outpainting`

const NEARLY = 8; // levels that are as good as black or white, as in `pictures`

/** For each level of a mask, that which a run takes it for. */
const LEVELS = Uint8Array.from({ length: 256 }, (_, level) =>
  level <= NEARLY ? 0 : level >= 255 - NEARLY ? 255 : level,
);

/** A side of the run's mask. */
interface Side {
  readonly pixels: Int32Array; // of the image, one for each of the run; -1: beyond it, all new
  readonly from: number; // where the run's first pixel lies on the image
  readonly scale: number; // pixels of the image for one of the run
  readonly seam?: Uint8Array; // for each of the run's pixels, how much of it is painted at least
}

export function cells(mask: Plane, { size, fit, factor, pad }: Run): Cells {
  const padded = pad.some((side) => side > 0);
  const own = padded || !size || (size[0] === mask.width && size[1] === mask.height);
  const [across, down] = own
    ? ([
        laid(mask.width, pad[0], pad[2], factor, padded),
        laid(mask.height, pad[1], pad[3], factor, padded),
      ] as const)
    : fitted(mask, { width: size[0], height: size[1] }, fit);
  const width = Math.floor(across.pixels.length / factor);
  const height = Math.floor(down.pixels.length / factor);
  const data = new Uint8Array(width * height);
  for (let y = 0; y < height * factor; y++) {
    const row = down.pixels[y] as number;
    const least = down.seam?.[y] ?? 0;
    const to = Math.floor(y / factor) * width;
    for (let x = 0; x < width * factor; x++) {
      const column = across.pixels[x] as number;
      const level =
        row < 0 || column < 0
          ? 255
          : Math.max(
              LEVELS[mask.data[row * mask.width + column] as number] as number,
              least,
              across.seam?.[x] ?? 0,
            );
      const cell = to + Math.floor(x / factor);
      if (level > (data[cell] as number)) data[cell] = level;
    }
  }
  const area = {
    x: across.from,
    y: down.from,
    width: width * factor * across.scale,
    height: height * factor * down.scale,
  };
  return { width, height, data, area };
}

/** A side at the image's own size, with new area before and after it. */
function laid(side: number, before: number, after: number, factor: number, padded: boolean): Side {
  let [first, last] = [before, after];
  const more = padded ? (factor - ((side + first + last) % factor)) % factor : 0;
  if (first > 0 && last === 0) first += more;
  else last += more;
  const pixels = Int32Array.from({ length: first + side + last }, (_, i) =>
    i < first || i >= first + side ? -1 : i - first,
  );
  const overlap = Math.min(OVERLAP * factor, Math.floor(side / 4));
  const seam = Uint8Array.from(pixels, (i) => {
    const near = Math.min(first > 0 ? i + 0.5 : Infinity, last > 0 ? side - i - 0.5 : Infinity);
    if (i < 0 || near >= overlap) return 0;
    return even((254 * (1 + Math.cos((Math.PI * near) / overlap))) / 2);
  });
  return { pixels, from: 0 - first, scale: 1, seam };
}

function fitted(image: Size, run: Size, fit: Run["fit"]): readonly [Side, Side] {
  if (fit === "crop") {
    const [own, wanted] = [image.width / image.height, run.width / run.height];
    const wide = own > wanted ? wanted * image.height : image.width;
    const high = own < wanted ? image.width / wanted : image.height;
    return [
      nearest(image.width, (image.width - wide) / 2, wide, run.width),
      nearest(image.height, (image.height - high) / 2, high, run.height),
    ];
  }
  const scale = Math.min(run.width / image.width, run.height / image.height);
  const inside = (side: number, room: number) =>
    fit === "stretch" ? room : Math.min(Math.max(even(side * scale), 1), room);
  return [
    surrounded(image.width, inside(image.width, run.width), run.width),
    surrounded(image.height, inside(image.height, run.height), run.height),
  ];
}

/** A side scaled to `inside` pixels, in the middle of `room`. */
function surrounded(side: number, inside: number, room: number): Side {
  const { pixels, scale } = nearest(side, 0, side, inside);
  const before = Math.floor((room - inside) / 2);
  const all = new Int32Array(room).fill(-1);
  all.set(pixels, before);
  return { pixels: all, from: 0 - before * scale, scale };
}

/** The nearest pixels of a part of a side, as Pillow takes them: in single precision at first. */
function nearest(side: number, from: number, length: number, count: number): Side {
  const [start, end] = [Math.fround(from), Math.fround(from + length)];
  const scale = Math.fround(end - start) / count;
  const pixels = new Int32Array(count);
  for (let i = 0, at = start + scale * 0.5; i < count; i++, at += scale) {
    pixels[i] = clamp(Math.floor(at), 0, side - 1);
  }
  return { pixels, from, scale };
}

/** The nearest whole number; of two, the even one, as Python rounds. */
function even(value: number): number {
  const low = Math.floor(value);
  const rest = value - low;
  if (rest !== 0.5) return Math.round(value);
  return low % 2 === 0 ? low : low + 1;
}
