// The run from which another came: a branch, an edit, the second pass of an enlarged image
// (trace/parent.py).

import { MOST_CONTROLS, PARENT, SETTINGS_FORMAT, SETTINGS_LIMITS, SOURCES } from "../lib/contract";
import * as checked from "./checked";
import { type GivenControl, givenControl, guideOf } from "./given";
import { dumps, type Json, type JsonObject, short } from "./python";
import { Fault } from "./refused";
import { checkedSettings, ofImage, type Settings, settingsJson, settingsOf } from "./settings";
import { modelSource, sourceJson } from "./sources";

/** The run from which another came, and how. */
export interface Parent {
  readonly how: string; // "branch", "edit" or "hires"
  readonly record: JsonObject; // as `Trace.record` returns it; its own parent is in it in turn
  readonly settings: Settings; // those of the record
  readonly step: number; // of a branch: how many first steps are the parent's own
  readonly seed: Json; // of a branch: that of the noise from that step on; null: it goes on
  readonly edit: JsonObject | null; // the arguments of an edit
  readonly parent: Parent | undefined; // of the parent
}

/** The parent that JSON describes, checked, with settings in today's format; nothing is believed. */
export function parentOf(given: JsonObject, depth: number = PARENT.depth): Parent {
  if (depth === 0) throw new Fault(`its parents are more than ${PARENT.depth}`);
  const how = checked.text(given, "how");
  const { record, settings, parent } = recordOf(checked.mapping(given, "record"), depth);
  const step = given.has("step") ? checked.whole(given, "step", 0, PARENT.step) : 0;
  const seed = given.get("seed") ?? null;
  const edit = given.get("edit") ?? null;
  return {
    how,
    record,
    settings,
    step,
    seed: seed === null ? null : checkedSeed(seed),
    edit: edit === null ? null : checked.mapping(given, "edit"),
    parent,
  };
}

/** The plain data for JSON. Parents of parents that would be too many, or too long together, are
 * left out. */
export function parentJson(parent: Parent): JsonObject {
  const made = fields(parent);
  const least = new Map(made).set("record", withoutTexts(parent.record));
  least.delete("edit");
  return trimmed(made, PARENT.depth, PARENT.text) ?? least;
}

/** The parent of one image of its batch; an edit has a single image, of the one that it names. */
export function ofImageAt(given: Parent, asked: number): Parent {
  const { settings, seed, record } = given;
  const named = given.edit && (given.edit.has("picture") ? given.edit.get("picture") : 0n);
  const edit = new Map(given.edit ?? []);
  edit.delete("picture");
  const isNamed = typeof named === "bigint";
  const parent = isNamed ? { ...given, edit } : given;
  const image = isNamed ? Number(named) : asked;
  const isThere = image >= 0 && image < settings.batch_size;
  if (settings.seed === null || settings.batch_size === 1 || !isThere) return parent;
  const own = ofImage(settings, image);
  const above = parent.parent && ofImageAt(parent.parent, image);
  const made = new Map(record).set("settings", settingsJson(own));
  if (above) made.set("parent", fields(above));
  const seeds = Array.isArray(seed) ? seed[image] : (seed as bigint | null);
  const its = typeof seeds === "bigint" && !Array.isArray(seed) ? seeds + BigInt(image) : seeds;
  return { ...parent, settings: own, record: made, parent: above, seed: its ?? null };
}

/** What there is of it, in Python's order. */
function fields({ how, record, step, seed, edit }: Parent): JsonObject {
  const made: JsonObject = new Map<string, Json>([
    ["how", how],
    ["record", record],
  ]);
  if (step > 0) made.set("step", BigInt(step));
  if (seed !== null) made.set("seed", seed);
  if (edit !== null) made.set("edit", edit);
  return made;
}

/** The parent, with as many of its own parents as there may be; undefined if it has no room. */
function trimmed(parent: JsonObject, depth: number, room: number): JsonObject | undefined {
  const record = new Map(parent.get("record") as JsonObject);
  const above = record.get("parent") as JsonObject | undefined;
  record.delete("parent");
  const made = new Map(parent).set("record", record);
  const left = room - dumps(made).length;
  if (depth === 0 || left < 0) return undefined;
  const kept = above && trimmed(above, depth - 1, left);
  return kept ? made.set("record", record.set("parent", kept)) : made;
}

/** What is left of a record whose texts are too long for a file. */
function withoutTexts(record: JsonObject): JsonObject {
  const kept = ["model", "task", "settings_format"].map(
    (name) => [name, record.get(name) as Json] as const,
  );
  const settings = new Map(record.get("settings") as JsonObject);
  return new Map<string, Json>(kept).set(
    "settings",
    settings.set("prompt", "").set("negative_prompt", ""),
  );
}

// ---------------------------------------------------------------------- from data of strangers

function checkedSeed(seed: Json): Json {
  const seeds = Array.isArray(seed) ? seed : [seed];
  const [low, high] = SETTINGS_LIMITS.seed;
  const right = seeds.every((one) => checked.isWhole(one, low, high));
  if (!right || seeds.length < 1 || seeds.length > SETTINGS_LIMITS.batch_size[1]) {
    throw new Fault(`the seed of its parent is ${short(seed)}`);
  }
  return seed;
}

/** What `Trace.record` returned for a parent, checked. */
function recordOf(given: JsonObject, depth: number) {
  const versions = given.has("versions") ? checked.mapping(given, "versions") : new Map();
  const model = checked.text(given, "model");
  const task = checked.text(given, "task");
  const settings = settingsIn(given);
  const record: JsonObject = new Map<string, Json>([
    ["model", model],
    ["task", task],
    ["settings", settingsJson(settings)],
    ["settings_format", BigInt(SETTINGS_FORMAT)],
    ["versions", new Map([...versions.keys()].map((name) => [name, checked.text(versions, name)]))],
  ]);
  for (const name of ["fingerprint", "prediction", "prediction_source", "cut"]) {
    if (given.has(name)) record.set(name, checked.text(given, name));
  }
  if (given.has("sources")) {
    const sources = checked.mappings(given, "sources", SOURCES.most);
    record.set(
      "sources",
      sources.map((one) => sourceJson(modelSource(one))),
    );
  }
  if (given.has("given")) record.set("given", checked.texts(given, "given", GIVEN));
  if (given.has("controls")) {
    const controls = checked.mappings(given, "controls", MOST_CONTROLS).map(givenControl);
    record.set("controls", controls.map(controlJson));
  }
  const guide = guideOf(given);
  if (guide) record.set("guide", guide);
  if (given.has("notices")) record.set("notices", checked.texts(given, "notices", 1000));
  if (given.has("complete")) record.set("complete", checked.flag(given, "complete"));
  let parent: Parent | undefined;
  if (given.has("parent")) {
    parent = parentOf(checked.mapping(given, "parent"), depth - 1);
    record.set("parent", fields(parent));
  }
  return { record, settings, parent };
}

const GIVEN = 8; // the names of what a run may be given beside settings

const controlJson = (control: GivenControl): JsonObject =>
  new Map<string, Json>(Object.entries(control));

/** The settings of a parent in today's format; those that are not known are left out. */
function settingsIn(given: JsonObject): Settings {
  const asked = new Map(given).set("settings", checked.mapping(given, "settings"));
  return checkedSettings(settingsOf(asked) as JsonObject).settings;
}
