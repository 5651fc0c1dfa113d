// The traits of a LabelMap that its page reads.

import type { RGB } from "../lib/palette";
import type { Painted } from "../painter/traits";

export interface Model extends Painted {
  classes: string[];
  colours: RGB[]; // of each class
}
