// The traits that a page reads, of a Painter and of its relatives.

import type { Binary } from "../lib/bytes";
import type { FITS } from "../lib/contract";

/** Of every widget on which somebody draws. */
export interface Paper {
  uid: string;
  shown: number; // the number of the image
  picture: Binary; // PNG or JPEG; empty without an image
  width: number;
  height: number;
  note: string;
  stamp: [page: string, number: number]; // who drew last
  undos: number;
  redos: number;
  problem: string;
}

/** Of every widget on which somebody paints. */
export interface Painted extends Paper {
  painted: Binary; // zlib's bytes of the values; empty if nothing is painted
}

export interface Model extends Painted {
  pad: [left: number, top: number, right: number, bottom: number];
  size: [width: number, height: number] | null; // of the run
  fit: (typeof FITS)[number];
  factor: number; // pixels along a side of a latent cell
  mapped: boolean; // whether the mask follows a map, and its threshold
  threshold: number;
}
