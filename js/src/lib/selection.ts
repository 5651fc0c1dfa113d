// What a person may choose: the contract's description of each trait as a type and as a check.

import { type LAB_SELECTION, SELECTION } from "./contract";

/** One trait of the contract's SELECTION or LAB_SELECTION. */
export type Spec =
  | { kind: "whole"; default: number; least: number }
  | { kind: "real"; default: number | null; least: number; most: number }
  | { kind: "text"; default: string; longest: number }
  | { kind: "flag"; default: boolean }
  | { kind: "choice"; default: string | number; among: readonly (string | number)[] };

type Value<S> = S extends { among: readonly (infer V)[] }
  ? V
  : S extends { kind: "text" }
    ? string
    : S extends { kind: "flag" }
      ? boolean
      : S extends { default: null }
        ? number | null
        : number;

/** The values of several traits. */
export type Chosen<Specs> = { -readonly [K in keyof Specs]: Value<Specs[K]> };

/** What is chosen in a viewer, linked across viewers; the kernel's class `Selections` explains it. */
export type Selection = Chosen<typeof SELECTION>;

/** What is chosen in the lab, beside the autoencoders. */
export type LabSelection = Chosen<typeof LAB_SELECTION>;

/** Whether the kernel would take this value, too. */
function fits(spec: Spec, value: unknown): boolean {
  switch (spec.kind) {
    case "whole":
      return Number.isSafeInteger(value) && (value as number) >= spec.least;
    case "real":
      if (value === null) return spec.default === null;
      return typeof value === "number" && value >= spec.least && value <= spec.most;
    case "text":
      return typeof value === "string" && [...value].length <= spec.longest;
    case "flag":
      return typeof value === "boolean";
    case "choice":
      return spec.among.some((each) => each === value);
  }
}

/** The value of a trait; its default in place of anything that it cannot be. */
export const valid = <S extends Spec>(spec: S, value: unknown): Value<S> =>
  (fits(spec, value) ? value : spec.default) as Value<S>;

export const NAMES = Object.keys(SELECTION) as (keyof Selection)[];

/** What is selected, from the values of traits. */
export function selectionOf(get: (name: keyof Selection) => unknown): Selection {
  const values = NAMES.map((name) => [name, valid(SELECTION[name], get(name))]);
  return Object.fromEntries(values) as Selection;
}
