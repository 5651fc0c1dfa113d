// What the side panel's page code needs of the program that it is a part of.

import { h } from "../lib/dom";
import type { Image } from "./said";

/** Translates a text, whose %1, %2, ... are replaced by the values. */
export interface Texts {
  __(text: string, ...values: unknown[]): string;
  _n(one: string, many: string, count: number, ...values: unknown[]): string;
}

export type IconName =
  | "open"
  | "shut"
  | "stop"
  | "up"
  | "down"
  | "close"
  | "refresh"
  | "model"
  | "loaded"
  | "part"
  | "refused"
  | "enlarge"
  | "cell";

export interface Host {
  texts: Texts;
  /** An icon in the style of the program. */
  icon(name: IconName): Element;
  /** Shows an image large. */
  enlarge(image: Image): void;
  /** Adds the cell that makes an image again to the active notebook. */
  insert(image: Image): void;
  /** Begins to drag an image, whose thumbnail was pressed there. */
  drag(image: Image, thumbnail: HTMLElement, event: PointerEvent): void;
  /** Explains something that takes more than a line. */
  explain(title: string, text: string): void;
}

const replaced = (text: string, values: readonly unknown[]) =>
  text.replace(/%(\d)/g, (whole, n) => String(values[Number(n) - 1] ?? whole));

export const ENGLISH: Texts = {
  __: (text, ...values) => replaced(text, values),
  _n: (one, many, count, ...values) => replaced(count === 1 ? one : many, [count, ...values]),
};

/** A host that can do nothing. */
export const NOWHERE: Host = {
  texts: ENGLISH,
  icon: () => h("span"),
  enlarge() {},
  insert() {},
  drag() {},
  explain() {},
};
