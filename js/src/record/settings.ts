// The settings of a run, with every limit, as sdwidgets/settings.py checks them without a model;
// those of older versions first become today's (trace/older.py).

import {
  FITS,
  HIRES_METHODS,
  LARGEST_SIDE,
  LONGEST_PROMPT,
  OPTIONS,
  RECORD,
  SAMPLERS,
  SCHEDULES,
  SETTINGS_LIMITS,
  WEIGHTS,
} from "../lib/contract";
import { converted } from "../lib/older";
import { boxesOf, type Label, type Layout, labelsOf, layoutsIn } from "./classes";
import { closest } from "./closest";
import { commas, type Json, type JsonObject, lengthOf, repr, shown } from "./python";
import { Fault } from "./refused";
import { wholeText } from "./whole_text";

type Numbered = keyof typeof SETTINGS_LIMITS;

/** The settings of a run, as `Settings.as_dict` returns them: plain data for JSON. */
export interface Settings {
  prompt: string | string[];
  negative_prompt: string | string[];
  weights: string;
  clip_skip: number;
  chunks: number;
  steps: number | null;
  sampler: string | null;
  schedule: string;
  sigmas: number[] | null;
  start_step: number;
  end_step: number | null;
  guidance_scale: number | null;
  guidance_rescale: number;
  seed: number | number[] | null;
  width: number | null;
  height: number | null;
  batch_size: number;
  variation: [number | number[], number] | null;
  toward: [string, number] | null;
  label: Label | Label[];
  boxes: Layout | Layout[] | null;
  strength: number;
  fit: string;
  pad: number[] | null;
  eta: number | null;
  s_noise: number | null;
  s_churn: number | null;
  hires: number | null;
  hires_strength: number;
  hires_steps: number | null;
  hires_method: string;
  window: number | null;
  refiner_start: number | null;
  guide_scale: number;
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
  ["steps", null],
  ["sampler", null],
  ["schedule", SCHEDULES[0]],
  ["sigmas", null],
  ["start_step", 0n],
  ["end_step", null],
  ["guidance_scale", null],
  ["guidance_rescale", 0],
  ["seed", null],
  ["width", null],
  ["height", null],
  ["batch_size", 1n],
  ["variation", null],
  ["toward", null],
  ["label", null],
  ["boxes", null],
  ["strength", 0.8],
  ["fit", FITS[0]],
  ["pad", null],
  ["eta", null],
  ["s_noise", null],
  ["s_churn", null],
  ["hires", null],
  ["hires_strength", 0.6],
  ["hires_steps", null],
  ["hires_method", HIRES_METHODS[0]],
  ["window", null],
  ["refiner_start", null],
  ["guide_scale", 1],
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
  "s_noise",
  "s_churn",
  "sigmas",
  "hires",
  "hires_strength",
  "refiner_start",
  "guide_scale",
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
  const sigmas = levels(get("sigmas"));
  const steps = sigmas === null ? get("steps") : stepsOf(sigmas, get("steps"), schedule);
  const optional = <T>(value: Json, check: (value: Json) => T) =>
    value === null ? null : check(value);
  const optionalReal = (name: Numbered & keyof Settings) =>
    optional(get(name), (one) => real(name, one));
  const optionalWhole = (name: Numbered & keyof Settings) =>
    optional(get(name), (one) => whole(name, one));
  const options = {
    eta: optionalReal("eta"),
    s_noise: optionalReal("s_noise"),
    s_churn: optionalReal("s_churn"),
  };
  const sampler = optional(get("sampler"), (one) => choice("sampler", one, Object.keys(SAMPLERS)));
  if (sampler !== null) checkOptions(sampler, options);
  const settings: Settings = {
    prompt: texts("prompt", get("prompt")),
    negative_prompt: texts("negative_prompt", get("negative_prompt")),
    weights: choice("weights", get("weights"), WEIGHTS),
    clip_skip: whole("clip_skip", get("clip_skip")),
    chunks: whole("chunks", get("chunks")),
    steps: optional(steps, (one) => whole("steps", one)),
    sampler,
    schedule,
    sigmas,
    start_step: whole("start_step", get("start_step")),
    end_step: optionalWhole("end_step"),
    guidance_scale: optionalReal("guidance_scale"),
    guidance_rescale: real("guidance_rescale", get("guidance_rescale")),
    seed: optional(get("seed"), seeds),
    width: optionalWhole("width"),
    height: optionalWhole("height"),
    batch_size: whole("batch_size", get("batch_size")),
    variation: variation(get("variation")),
    toward: toward(get("toward")),
    label: labelsOf(get("label")),
    boxes: boxesOf(get("boxes")),
    strength: real("strength", get("strength")),
    fit: choice("fit", get("fit"), FITS),
    pad: pad(get("pad")),
    ...options,
    hires: optionalReal("hires"),
    hires_strength: real("hires_strength", get("hires_strength")),
    hires_steps: optionalWhole("hires_steps"),
    hires_method: choice("hires_method", get("hires_method"), HIRES_METHODS),
    window: optionalWhole("window"),
    refiner_start: optionalReal("refiner_start"),
    guide_scale: real("guide_scale", get("guide_scale")),
    original_size: pair("original_size", get("original_size"), 1),
    crop: pair("crop", get("crop"), 0),
    target_size: pair("target_size", get("target_size"), 1),
    image_guidance_scale: optionalReal("image_guidance_scale"),
    noise_level: optionalWhole("noise_level"),
    aesthetic_score: optionalReal("aesthetic_score"),
    negative_aesthetic_score: optionalReal("negative_aesthetic_score"),
  };
  for (const name of ["strength", "hires_strength"] as const) {
    if (settings[name] === 0) {
      throw new Fault(`${name} is 0: nothing would change.\nGive more than 0 and at most 1.`);
    }
  }
  if (settings.hires === 1) {
    throw new Fault("hires is 1: nothing would be enlarged.\nGive more than 1 and at most 4.");
  }
  checkSteps(settings);
  settings.batch_size = batchOf(settings);
  const unknown = [...given.keys()].filter((name) => !known.has(name as keyof Settings));
  return { settings, unknown };
}

/** The settings as JSON that Python would write: whole numbers and others are kept apart. */
export function settingsJson(settings: Settings): JsonObject {
  const json = (name: string, value: unknown): Json => {
    if (name === "toward" || name === "boxes") return value as Json;
    if (name === "variation" && Array.isArray(value)) return [json("seed", value[0]), value[1]];
    if (Array.isArray(value)) return value.map((one) => json(name, one));
    if (typeof value === "number" && !REALS.includes(name)) return BigInt(value);
    return value as Json;
  };
  return new Map(Object.entries(settings).map(([name, value]) => [name, json(name, value)]));
}

/** The value for each image of the batch. */
export const each = <T>(value: T | T[], batch: number): T[] =>
  Array.isArray(value) ? value : Array.from({ length: batch }, () => value);

/** [width, height] of the image: that of the second pass, where there is one; 0 if not known. */
export function finalSize({ width, height, hires }: Settings): [number, number] {
  const [w, h] = [width ?? 0, height ?? 0];
  const enlarged = (side: number, by: number) => Math.max(Math.round((side * by) / 8), 1) * 8;
  return hires === null || w === 0 || h === 0 ? [w, h] : [enlarged(w, hires), enlarged(h, hires)];
}

/** The seed of each image; null where it is not known. */
export function seedsOf({ seed, batch_size }: Settings): number[] | null {
  return seed === null ? seed : seedsIn(seed, batch_size);
}

const seedsIn = (seed: number | number[], batch: number): number[] =>
  Array.isArray(seed) ? seed : Array.from({ length: batch }, (_, i) => seed + i);

/** The settings that make one image of the batch alone. */
export function ofImage(settings: Settings, index: number): Settings {
  const { prompt, negative_prompt, batch_size, variation, label, boxes } = settings;
  return {
    ...settings,
    variation: variation && [seedsIn(variation[0], batch_size)[index] ?? 0, variation[1]],
    prompt: each(prompt, batch_size)[index] ?? "",
    negative_prompt: each(negative_prompt, batch_size)[index] ?? "",
    label: each(label, batch_size)[index] ?? null,
    boxes: (layoutsIn(boxes) ?? [])[index] ?? (boxes as Layout | null),
    seed: seedsOf(settings)?.[index] ?? null,
    batch_size: 1,
  };
}

// ------------------------------------------------------------------------------ checks

function choice(name: string, value: Json, known: readonly string[]): string {
  if (typeof value === "string" && known.includes(value)) return value;
  const near = typeof value === "string" ? closest(value, known) : undefined;
  const hint = near === undefined ? "" : `Did you mean ${repr(near)}? `;
  throw new Fault(`There is no ${name} ${shown(value)}.\n${hint}Known: ${listed(known)}.`);
}

/** The names, on two lines if they are many. */
function listed(names: readonly string[]): string {
  const half = names.join(", ").length > 100 ? Math.ceil(names.length / 2) : names.length;
  return [names.slice(0, half), names.slice(half)]
    .filter((part) => part.length > 0)
    .map((part) => part.join(", "))
    .join(",\n");
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

/** The options become null where the sampler does not have them. */
function checkOptions(sampler: string, options: Record<keyof typeof OPTIONS, number | null>) {
  for (const [name, idle] of Object.entries(OPTIONS) as [keyof typeof OPTIONS, number][]) {
    const takers = Object.entries(SAMPLERS)
      .filter(([, options]) => (options as readonly string[]).includes(name))
      .map(([taker]) => taker);
    if (takers.includes(sampler)) continue;
    const value = options[name];
    options[name] = null;
    if (value === null || value === idle) continue;
    throw new Fault(
      `The sampler ${repr(sampler)} has no ${name}.\n` +
        `Leave it out, or take one that has: ${takers.join(", ")}.`,
    );
  }
}

function checkSteps({ start_step: start, end_step: end, steps }: Settings) {
  if (steps !== null && start >= steps) {
    throw new Fault(`start_step ${start} leaves no step of ${steps}.\nGive 0 to ${steps - 1}.`);
  }
  if (end !== null && end <= start) {
    throw new Fault(
      `end_step must be more than start_step, ${start}; got ${end}.\n` +
        "Steps are made from start_step to before end_step.",
    );
  }
}

const isNumber = (value: Json): value is bigint | number =>
  typeof value === "bigint" || typeof value === "number";

function levels(value: Json): number[] | null {
  if (value === null) return null;
  const most = SETTINGS_LIMITS.steps[1] + 1;
  const right =
    Array.isArray(value) &&
    value.length >= 2 &&
    value.length <= most &&
    value.every((one) => isNumber(one) && one >= 0 && one <= RECORD.sigma) &&
    value.every((one, i) => i === 0 || (value[i - 1] as number) > (one as number));
  if (!right) {
    throw new Fault(
      `sigmas must be 2 to ${most} noise levels, each below the one before it and none below 0, ` +
        `got ${shown(value)}.\nFor example [14.6, 3.0, 0.7, 0].`,
    );
  }
  return value.map(Number);
}

function stepsOf(sigmas: number[], steps: Json, schedule: string): bigint {
  if (schedule !== SCHEDULES[0]) {
    throw new Fault(
      "sigmas and schedule both say which noise levels to visit.\nGive only one of them.",
    );
  }
  const own = sigmas.length - 1;
  if (steps !== null && !(isNumber(steps) && Number(steps) === own)) {
    throw new Fault(
      `${sigmas.length} noise levels make ${own} steps, got steps=${shown(steps)}.\nLeave out steps.`,
    );
  }
  return BigInt(own);
}

function variation(value: Json): [number | number[], number] | null {
  if (value === null) return null;
  if (!Array.isArray(value) || value.length !== 2) {
    throw new Fault(
      `variation must be a seed and a number from 0 to 1, got ${shown(value)}.\nFor example (7, 0.2).`,
    );
  }
  const [seed, strength] = value as [Json, Json];
  const [low, high] = SETTINGS_LIMITS.seed;
  const isList = Array.isArray(seed) && seed.length <= SETTINGS_LIMITS.batch_size[1];
  const all = isList ? seed : [seed];
  const right = (one: Json) => typeof one === "bigint" && one >= low && one <= high;
  if (all.length === 0 || !all.every(right)) {
    throw new Fault(`The seed of variation must be 0 to ${high}, got ${shown(seed)}.`);
  }
  if (!isNumber(strength) || !(strength >= 0 && strength <= 1)) {
    throw new Fault(`The strength of variation must be 0 to 1, got ${shown(strength)}.`);
  }
  return [isList ? all.map(Number) : Number(seed), Number(strength)];
}

function toward(value: Json): [string, number] | null {
  if (value === null) return null;
  if (!Array.isArray(value) || value.length !== 2) {
    throw new Fault(
      `toward must be another prompt and a number from 0 to 1, got ${shown(value)}.\nFor example ('a dog', 0.5).`,
    );
  }
  const [prompt, share] = value as [Json, Json];
  if (!isNumber(share) || !(share >= 0 && share <= 1)) {
    throw new Fault(`The share of toward must be 0 to 1, got ${shown(share)}.`);
  }
  return [text("toward", prompt), Number(share)];
}

function pad(value: Json): number[] | null {
  if (value === null) return null;
  const sides = typeof value === "bigint" ? [value, value, value, value] : value;
  const high = SETTINGS_LIMITS.width[1];
  const right =
    Array.isArray(sides) &&
    sides.length === 4 &&
    sides.every((side) => typeof side === "bigint" && side >= 0 && side <= high);
  if (!right) {
    throw new Fault(
      `pad must be a whole number of pixels from 0 to ${high}, or four: left, top, right and ` +
        `bottom; got ${shown(value)}.`,
    );
  }
  const numbers = sides.map(Number);
  if (numbers.every((side) => side === 0)) {
    throw new Fault("pad is 0: no area would be added.\nGive more.");
  }
  return numbers;
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
  return wholeText(name, value);
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
  const other = settings.variation?.[0];
  const others = { variation: other, boxes: layoutsIn(settings.boxes) };
  const names = ["prompt", "negative_prompt", "label", "boxes", "seed", "variation"] as const;
  for (const name of names) {
    const value = name === "variation" || name === "boxes" ? others[name] : settings[name];
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
  if (typeof other === "number" && other + batch - 1 > high) {
    throw new Fault(
      `The seed of variation, ${other}, leaves no room for ${batch} seeds.\n` +
        `Give at most ${high - batch + 1}.`,
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
