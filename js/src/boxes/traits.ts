// The traits of a Boxes widget that its page reads.

import type { RGB } from "../lib/palette";
import type { Paper } from "../painter/traits";
import type { NamedBox } from "./geometry";

export interface Model extends Paper {
  boxes: NamedBox[]; // from back to front
  classes: string[]; // to choose from; [] for any name
  colours: RGB[]; // of each class
  most: number; // boxes
}
