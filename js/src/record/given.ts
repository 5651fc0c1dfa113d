// What a run was given beside its settings, as a record's JSON says it.

import { CONTROL_STRENGTH } from "../lib/contract";
import * as checked from "./checked";
import type { JsonObject } from "./python";

/** An image that the run followed, by a ControlNet. */
export interface GivenControl {
  readonly name: string; // of the network
  readonly strength: number;
  readonly start: number; // share of the steps, 0 to 1
  readonly end: number;
}

export const givenControl = (given: JsonObject): GivenControl => ({
  name: checked.text(given, "name"),
  strength: checked.real(given, "strength", CONTROL_STRENGTH[1]),
  start: checked.real(given, "start", 1),
  end: checked.real(given, "end", 1),
});

/** What steered a run; undefined where nothing did. */
export function guideOf(given: JsonObject): JsonObject | undefined {
  if (!given.has("guide")) return undefined;
  const guide = checked.mapping(given, "guide");
  return new Map(guide).set("name", checked.text(guide, "name"));
}
