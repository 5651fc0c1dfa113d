// What a run is given by the names of classes, as sdwidgets/classes.py checks it.

import { CLASSES, SETTINGS_LIMITS } from "../lib/contract";
import { first, type Json, lengthOf, repr, shown, words } from "./python";
import { Fault } from "./refused";
import { wholeText } from "./whole_text";

/** A class by its name or number; null is the null class. */
export type Label = string | number | null;
/** Objects by name, with x0, y0, x1, y1 in fractions of the image. */
export type Layout = [string, [number, number, number, number]][];

/** A run's label, or one for each image. */
export function labelsOf(value: Json): Label | Label[] {
  if (!Array.isArray(value)) return label(value);
  checkSeveral("label", value);
  return value.map(label);
}

/** A run's boxes: a layout, one for each image, or null. */
export function boxesOf(value: Json): Layout | Layout[] | null {
  if (value === null) return null;
  if (!Array.isArray(value)) throw noBox(value);
  if (!isListOfLayouts(value)) return layout(value);
  checkSeveral("boxes", value);
  return (value as Json[][]).map(layout);
}

/** The layouts in checked boxes that have one for each image; undefined for others. */
export const layoutsIn = (boxes: Layout | Layout[] | null): Layout[] | undefined =>
  boxes !== null && isListOfLayouts(boxes) ? (boxes as Layout[]) : undefined;

/** A layout has boxes, which begin with a name; a list of layouts has lists of those. */
const isListOfLayouts = (value: readonly unknown[]) =>
  value.length > 0 && value.every((one) => Array.isArray(one) && typeof one[0] !== "string");

function checkSeveral(name: string, { length }: readonly unknown[]) {
  const most = SETTINGS_LIMITS.batch_size[1];
  if (length >= 1 && length <= most) return;
  throw new Fault(`${name} is a list of ${length}.\nGive one for each image, 1 to ${most}.`);
}

function label(value: Json): Label {
  if (value === null) return null;
  if (typeof value === "string" && lengthOf(value) <= CLASSES.name) {
    return words(wholeText("label", value)).join(" ") || null;
  }
  if (typeof value === "bigint" && value >= 0 && value <= CLASSES.number) return Number(value);
  throw new Fault(
    `label must be the name or the number of a class, got ${shown(value)}.\n` +
      "model.classes are the names.",
  );
}

function layout(value: Json[]): Layout {
  const most = CLASSES.boxes;
  if (value.length > most) {
    throw new Fault(`boxes are at most ${most} for an image, got ${value.length}.`);
  }
  return value.map(box);
}

function box(value: Json): Layout[number] {
  const [named, corners] = Array.isArray(value) && value.length === 2 ? value : [null, null];
  const isNamed = typeof named === "string" && words(named).length > 0;
  if (!isNamed || lengthOf(named) > CLASSES.name) throw noBox(value);
  const name = words(wholeText("boxes", named)).join(" ");
  if (!Array.isArray(corners) || corners.length !== 4) throw noBox(value);
  const isInside = (one: Json) =>
    (typeof one === "bigint" || typeof one === "number") && one >= 0 && one <= 1;
  if (!corners.every(isInside)) {
    throw new Fault(
      `The box of ${repr(first(name, 60))} must lie within the image, got ${shown(corners)}.\n` +
        "Give x0, y0, x1, y1 in fractions of the image, 0 to 1.",
    );
  }
  const [a, b, c, d] = corners.map(Number) as [number, number, number, number];
  if (a === c || b === d) {
    throw new Fault(
      `The box of ${repr(first(name, 60))} has no area: ${shown(corners)}.\nGive a larger one.`,
    );
  }
  return [name, [Math.min(a, c), Math.min(b, d), Math.max(a, c), Math.max(b, d)]];
}

const noBox = (value: Json) =>
  new Fault(
    `boxes must be a list of (name, (x0, y0, x1, y1)), got ${shown(value)}.\n` +
      'For example [("cat", (0.1, 0.2, 0.6, 0.9))], in fractions of the image.',
  );
