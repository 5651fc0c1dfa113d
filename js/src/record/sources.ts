// The sources of a model as a record names them (sdwidgets/sources.py).

import { SOURCES } from "../lib/contract";
import { general, type Json, type JsonObject, lengthOf, shown } from "./python";
import { Fault } from "./refused";

/** A file, or a model on the hub, from which weights of a model came. */
export interface ModelSource {
  readonly name: string;
  readonly kind: string;
  readonly sha256: string; // "" if not known
  readonly commit: string; // "" for files
  readonly strength: number | null;
  readonly textStrength: number | null; // of text encoders, where it is another
}

export function modelSource(data: JsonObject): ModelSource {
  const get = (name: string): Json => (data.has(name) ? (data.get(name) as Json) : "");
  const digests = { sha256: 64, commit: 40 } as const;
  for (const [name, digits] of Object.entries(digests)) {
    const value = get(name);
    const right = typeof value === "string" && (value === "" || value.length === digits);
    if (!right || !/^[0-9a-f]*$/.test(value as string) || (value as string).endsWith("\n")) {
      throw new Fault(
        `The ${name} of a source is ${digits} hexadecimal digits, in lower case, or ''; got ${shown(value)}.`,
      );
    }
  }
  for (const name of ["name", "kind"]) {
    const value = get(name);
    if (typeof value !== "string" || value === "" || lengthOf(value) > SOURCES.name) {
      throw new Fault(
        `The ${name} of a source is a text of 1 to ${SOURCES.name} characters, got ${shown(value)}.`,
      );
    }
  }
  return {
    name: get("name") as string,
    kind: get("kind") as string,
    sha256: get("sha256") as string,
    commit: get("commit") as string,
    strength: strengthIn(data, "strength"),
    textStrength: strengthIn(data, "text_strength"),
  };
}

function strengthIn(data: JsonObject, name: string): number | null {
  const strength = data.get(name) ?? null;
  if (strength === null) return null;
  const limit = SOURCES.strength;
  const isNumber = typeof strength === "bigint" || typeof strength === "number";
  if (!(isNumber && strength >= -limit && strength <= limit)) {
    const range = `from ${general(-limit)} to ${general(limit)}`;
    throw new Fault(`${name} must be a number ${range}, got ${shown(strength)}.`);
  }
  return Number(strength);
}

/** Its fields for JSON, without empty ones. */
export function sourceJson(source: ModelSource): JsonObject {
  const { name, kind, sha256, commit, strength, textStrength } = source;
  const known: JsonObject = new Map<string, Json>([
    ["name", name],
    ["kind", kind],
  ]);
  if (sha256 !== "") known.set("sha256", sha256);
  if (commit !== "") known.set("commit", commit);
  if (strength !== null) known.set("strength", strength);
  if (textStrength !== null) known.set("text_strength", textStrength);
  return known;
}
