// The settings of a run, with every limit, as sdwidgets/settings.py checks them without a model;
// those of older versions first become today's (trace/older.py).

import {
  FITS,
  LARGEST_SIDE,
  LONGEST_PROMPT,
  OPTIONS,
  SAMPLERS,
  SCHEDULES,
  SETTINGS_LIMITS,
  WEIGHTS,
} from "../lib/contract";
import { converted } from "../lib/older";
import { closest } from "./closest";
import {
  commas,
  general,
  isHigh,
  isLow,
  type Json,
  type JsonObject,
  lengthOf,
  repr,
  shown,
} from "./python";
import { Fault } from "./refused";

type Numbered = keyof typeof SETTINGS_LIMITS;

/** The settings of a run, as `Settings.as_dict` returns them: plain data for JSON. */
export interface Settings {
  prompt: string | string[];
  negative_prompt: string | string[];
  weights: string;
  clip_skip: number;
  chunks: number;
  steps: number;
  sampler: string;
  schedule: string;
  guidance_scale: number | null;
  guidance_rescale: number;
  seed: number | number[] | null;
  width: number | null;
  height: number | null;
  batch_size: number;
  strength: number;
  fit: string;
  eta: number;
  original_size: [number, number] | null;
  crop: [number, number] | null;
  target_size: [number, number] | null;
  image_guidance_scale: number | null;
  noise_level: number | null;
  aesthetic_score: number | null;
  negative_aesthetic_score: number | null;
}

const DEFAULTS: [keyof Settings, Json][] = [
  ["prompt", ""],
  ["negative_prompt", ""],
  ["weights", WEIGHTS[0]],
  ["clip_skip", 0n],
  ["chunks", BigInt(SETTINGS_LIMITS.chunks[1])],
  ["steps", 20n],
  ["sampler", Object.keys(SAMPLERS)[0] as string],
  ["schedule", SCHEDULES[0]],
  ["guidance_scale", null],
  ["guidance_rescale", 0],
  ["seed", null],
  ["width", null],
  ["height", null],
  ["batch_size", 1n],
  ["strength", 0.8],
  ["fit", FITS[0]],
  ["eta", OPTIONS.eta],
  ["original_size", null],
  ["crop", null],
  ["target_size", null],
  ["image_guidance_scale", null],
  ["noise_level", null],
  ["aesthetic_score", null],
  ["negative_aesthetic_score", null],
];
/** The settings that only some models are told. */
export const TOLD = [
  "image_guidance_scale",
  "noise_level",
  "aesthetic_score",
  "negative_aesthetic_score",
] as const;
const REALS: readonly string[] = [
  "guidance_scale",
  "guidance_rescale",
  "strength",
  "eta",
  "image_guidance_scale",
  "aesthetic_score",
  "negative_aesthetic_score",
];

/** The settings inside `given`, checked, and the names that are not known, sorted by the caller. */
export function checkedSettings(given: JsonObject): { settings: Settings; unknown: string[] } {
  const known = new Map(DEFAULTS);
  const get = (name: keyof Settings) =>
    given.has(name) ? (given.get(name) as Json) : (known.get(name) as Json);
  const schedule = choice("schedule", get("schedule"), SCHEDULES);
  const optional = <T>(value: Json, check: (value: Json) => T) =>
    value === null ? null : check(value);
  const optionalReal = (name: Numbered & keyof Settings) =>
    optional(get(name), (one) => real(name, one));
  const settings: Settings = {
    prompt: texts("prompt", get("prompt")),
    negative_prompt: texts("negative_prompt", get("negative_prompt")),
    weights: choice("weights", get("weights"), WEIGHTS),
    clip_skip: whole("clip_skip", get("clip_skip")),
    chunks: whole("chunks", get("chunks")),
    steps: whole("steps", get("steps")),
    sampler: choice("sampler", get("sampler"), Object.keys(SAMPLERS)),
    schedule,
    guidance_scale: optionalReal("guidance_scale"),
    guidance_rescale: real("guidance_rescale", get("guidance_rescale")),
    seed: optional(get("seed"), seeds),
    width: optional(get("width"), (one) => whole("width", one)),
    height: optional(get("height"), (one) => whole("height", one)),
    batch_size: whole("batch_size", get("batch_size")),
    strength: real("strength", get("strength")),
    fit: choice("fit", get("fit"), FITS),
    eta: real("eta", get("eta")),
    original_size: pair("original_size", get("original_size"), 1),
    crop: pair("crop", get("crop"), 0),
    target_size: pair("target_size", get("target_size"), 1),
    image_guidance_scale: optionalReal("image_guidance_scale"),
    noise_level: optional(get("noise_level"), (one) => whole("noise_level", one)),
    aesthetic_score: optionalReal("aesthetic_score"),
    negative_aesthetic_score: optionalReal("negative_aesthetic_score"),
  };
  if (settings.strength === 0) {
    throw new Fault("strength is 0: nothing would change.\nGive more than 0 and at most 1.");
  }
  for (const name of Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]) {
    checkUnused(name, settings[name], settings.sampler);
  }
  settings.batch_size = batchOf(settings);
  const unknown = [...given.keys()].filter((name) => !known.has(name as keyof Settings));
  return { settings, unknown };
}

/** The settings as JSON that Python would write: whole numbers and others are kept apart. */
export function settingsJson(settings: Settings): JsonObject {
  const json = (name: string, value: unknown): Json => {
    if (Array.isArray(value)) return value.map((one) => json(name, one));
    if (typeof value === "number" && !REALS.includes(name)) return BigInt(value);
    return value as Json;
  };
  return new Map(Object.entries(settings).map(([name, value]) => [name, json(name, value)]));
}

/** The value for each image of the batch. */
export const each = <T>(value: T | T[], batch: number): T[] =>
  Array.isArray(value) ? value : Array.from({ length: batch }, () => value);

/** The seed of each image; null where it is not known. */
export function seedsOf({ seed, batch_size }: Settings): number[] | null {
  if (seed === null || Array.isArray(seed)) return seed;
  return Array.from({ length: batch_size }, (_, i) => seed + i);
}

/** The settings that make one image of the batch alone. */
export function ofImage(settings: Settings, index: number): Settings {
  const { prompt, negative_prompt, batch_size } = settings;
  return {
    ...settings,
    prompt: each(prompt, batch_size)[index] ?? "",
    negative_prompt: each(negative_prompt, batch_size)[index] ?? "",
    seed: seedsOf(settings)?.[index] ?? null,
    batch_size: 1,
  };
}

// ------------------------------------------------------------------------------ checks

function choice(name: string, value: Json, known: readonly string[]): string {
  if (typeof value === "string" && known.includes(value)) return value;
  const near = typeof value === "string" ? closest(value, known) : undefined;
  const hint = near === undefined ? "" : `Did you mean ${repr(near)}? `;
  throw new Fault(`There is no ${name} ${shown(value)}.\n${hint}Known: ${known.join(", ")}.`);
}

function whole(name: Numbered, value: Json): number {
  const [low, high] = SETTINGS_LIMITS[name];
  if (typeof value !== "bigint") {
    throw new Fault(
      `${name} must be a whole number, got ${shown(value)}.\nGive ${low} to ${high}.`,
    );
  }
  if (value < low || value > high) throw outside(name, value);
  return Number(value);
}

function real(name: Numbered, value: Json): number {
  const [low, high] = SETTINGS_LIMITS[name];
  if (typeof value !== "bigint" && typeof value !== "number") {
    throw new Fault(`${name} must be a number, got ${shown(value)}.\nGive ${low} to ${high}.`);
  }
  if (value < low || value > high) throw outside(name, value);
  return Number(value);
}

function outside(name: Numbered, value: Json): Fault {
  const [low, high] = SETTINGS_LIMITS[name];
  return new Fault(`${name} must be ${low} to ${high}, got ${shown(value)}.`);
}

function checkUnused(name: keyof typeof OPTIONS, value: number, sampler: string) {
  const takers = Object.entries(SAMPLERS)
    .filter(([, options]) => (options as readonly string[]).includes(name))
    .map(([taker]) => taker);
  if (takers.includes(sampler) || value === OPTIONS[name]) return;
  const known = takers.map(repr).join(" or ");
  throw new Fault(
    `${name} only has an effect with the sampler ${known}, not with ${repr(sampler)}.\n` +
      `Leave it at ${general(OPTIONS[name])}, or set sampler=${known}.`,
  );
}

function pair(name: string, value: Json, low: number): [number, number] | null {
  if (value === null) return null;
  const right =
    Array.isArray(value) &&
    value.length === 2 &&
    value.every((one) => typeof one === "bigint" && one >= low && one <= LARGEST_SIDE);
  if (!right) {
    throw new Fault(
      `${name} must be two whole numbers from ${low} to ${commas(LARGEST_SIDE)}, got ${shown(value)}.`,
    );
  }
  return (value as bigint[]).map(Number) as [number, number];
}

function texts(name: string, value: Json): string | string[] {
  if (!Array.isArray(value)) return text(name, value);
  if (value.length === 0) {
    throw new Fault(`${name} is an empty list.\nGive one text, or one for each image.`);
  }
  checkCount(value);
  return value.map((one) => text(name, one));
}

function checkCount(values: Json[]) {
  if (values.length > SETTINGS_LIMITS.batch_size[1]) whole("batch_size", BigInt(values.length));
}

function text(name: string, value: Json): string {
  if (typeof value !== "string") {
    throw new Fault(`${name} must be a text, got ${shown(value)}.\nAn empty text, '', is fine.`);
  }
  const length = lengthOf(value);
  if (length > LONGEST_PROMPT) {
    throw new Fault(
      `${name} has ${commas(length)} characters; the limit is ${commas(LONGEST_PROMPT)}.\n` +
        "A model reads at most 750 tokens.",
    );
  }
  let position = 0;
  for (const letter of value) {
    const unit = letter.charCodeAt(0);
    if (letter.length === 1 && (isHigh(unit) || isLow(unit))) {
      const code = unit.toString(16).toUpperCase().padStart(4, "0");
      throw new Fault(
        `${name} has half a character (a lone surrogate, U+${code}) at position ${position}.\n` +
          "Type or paste that character again.",
      );
    }
    position++;
  }
  return value;
}

function seeds(value: Json): number | number[] {
  if (!Array.isArray(value)) return seed(value);
  if (value.length === 0) {
    throw new Fault("seed is an empty list.\nGive one number, or one for each image.");
  }
  checkCount(value);
  return value.map(seed);
}

function seed(value: Json): number {
  const high = SETTINGS_LIMITS.seed[1];
  if (typeof value === "bigint" && value > high && value < 2n ** 64n) {
    throw new Fault(
      `seed must be 0 to ${high}, got ${shown(value)}.\n` +
        "The generator reads 32 bits only, so larger seeds would repeat images.\n" +
        `Give ${value % 2n ** 32n}, which makes the same image.`,
    );
  }
  return whole("seed", value);
}

/** The batch size that all lists agree on. */
function batchOf(settings: Settings): number {
  const sizes: [string, number][] = [["batch_size", settings.batch_size]];
  for (const name of ["prompt", "negative_prompt", "seed"] as const) {
    const value = settings[name];
    if (Array.isArray(value)) sizes.push([name, value.length]);
  }
  const batch = Math.max(...sizes.map(([, size]) => size));
  for (const [name, size] of sizes) {
    if (size !== batch && !(name === "batch_size" && size === 1)) {
      const counts = sizes.map(([each, one]) => `${each}: ${one}`).join(", ");
      throw new Fault(
        `These settings disagree about how many images to make (${counts}).\n` +
          "Give lists of the same length, or single values.",
      );
    }
  }
  whole("batch_size", BigInt(batch));
  const [, high] = SETTINGS_LIMITS.seed;
  if (typeof settings.seed === "number" && settings.seed + batch - 1 > high) {
    throw new Fault(
      `seed ${settings.seed} leaves no room for ${batch} seeds.\nGive at most ${high - batch + 1}.`,
    );
  }
  return batch;
}

// ------------------------------------------------------------------------------ older settings

/** The settings of a record, not checked yet, in today's format. */
export function settingsOf(record: JsonObject): Json | undefined {
  const settings = record.get("settings");
  if (!(settings instanceof Map)) return settings;
  const run = record.has("settings_format")
    ? { settings_format: record.get("settings_format") as Json, task: record.get("task") }
    : { task: record.get("task") };
  const changed = converted(Object.fromEntries(settings), run, 1n);
  return new Map(Object.entries(changed)) as JsonObject;
}
