// A record out of its JSON and the places of its tensors, all of it checked before it is believed
// (trace/unpacking.py).

import {
  KINDS,
  LATENTS,
  MOST_CONTROLS,
  MOST_NEIGHBOURS,
  PRECISIONS,
  RECORD,
  SETTINGS_LIMITS,
  SOURCES,
} from "../lib/contract";
import { times } from "../lib/numbers";
import * as checked from "./checked";
import { type GivenControl, givenControl, guideOf } from "./given";
import type { Tensor } from "./layout";
import { type Parent, parentOf } from "./parent";
import { ascii, commas, compared, type Json, type JsonObject, lengthOf, short } from "./python";
import { Fault } from "./refused";
import { checkedSettings, type Settings, settingsOf } from "./settings";
import { type ModelSource, modelSource } from "./sources";
import { type Grid, type Grids, type ImageInfo, Tensors, type Values } from "./tensors";
import type { PromptTokens } from "./tokens";

/** What the JSON says about one step. */
export interface StepInfo {
  readonly index: number;
  readonly sigma: number;
  readonly sigma_next: number;
  readonly seconds: number | null;
  readonly parts: readonly string[];
}

/** A record, except for what its tensors hold. */
export interface Unpacked {
  readonly model: string;
  readonly task: string;
  readonly settings: Settings;
  readonly tokens: readonly PromptTokens[];
  readonly negativeTokens: readonly PromptTokens[];
  readonly steps: readonly StepInfo[]; // those that are whole
  readonly images: readonly string[]; // tensors with the images of the batch
  readonly expected: number;
  readonly complete: boolean;
  readonly runSeconds: number | null;
  readonly notices: readonly string[];
  readonly versions: ReadonlyMap<string, string>;
  readonly fingerprint: string;
  readonly prediction: string;
  readonly predictionSource: string;
  readonly givenImage: boolean;
  readonly givenMask: boolean;
  readonly givenDepth: boolean;
  readonly givenLabelMap: boolean;
  readonly guide: JsonObject | undefined; // what steered the run
  readonly neighbours: number; // how many images the run was given
  readonly givenLatents: boolean;
  readonly controls: readonly GivenControl[];
  readonly factors: Tensor | undefined;
  readonly scheduleSigmas: readonly number[];
  readonly sources: readonly ModelSource[];
  readonly parent: Parent | undefined; // the run from which this one came
  readonly precision: string;
  readonly content: Tensors;
}

const FIELDS = new Set([
  "sha256", "format", "model", "task", "settings", "settings_format", "tokens", "negative_tokens",
  "expected", "complete", "run_seconds", "notices", "versions", "fingerprint", "prediction",
  "prediction_source", "sources", "controls", "guide", "schedule_sigmas", "latents", "layers", "steps",
  "pictures", "stored", "parent",
]); // biome-ignore format: a list
const GIVEN = ["given_image", "given_mask"];
const GIVEN_CONTROL = "given_control.";
const GIVEN_NEIGHBOUR = "given_neighbour.";
const BATCH = SETTINGS_LIMITS.batch_size[1];
const ENCODERS = 8; // text encoders of a model
const PARTS: readonly string[] = [...LATENTS, ...Object.values(KINDS)];

/** The record; a `Fault` for whatever is wrong. */
export function unpacked(
  meta: JsonObject,
  tensors: ReadonlyMap<string, Tensor>,
  values: Values,
): Unpacked {
  const given = new Map(meta).set("settings", checked.mapping(meta, "settings"));
  const { settings, unknown } = checkedSettings(settingsOf(given) as JsonObject);
  const tokens = promptsOf(meta, "tokens", settings.batch_size);
  const negativeTokens = promptsOf(meta, "negative_tokens", settings.batch_size);
  const infos = checked.mappings(meta, "steps", RECORD.steps).map(stepOf);
  if (infos.some(({ index }, i) => i > 0 && index <= (infos[i - 1] as StepInfo).index)) {
    throw new Fault("its steps are out of order");
  }
  const precision = precisionOf(meta);
  const parent = meta.has("parent") ? parentOf(checked.mapping(meta, "parent")) : undefined;
  const content = new Tensors(tensors, values, {
    shape: infos.length > 0 ? shapeOf(meta, settings.batch_size) : [],
    grids: gridsOf(meta, infos),
    precision,
    columns: { cross: columnsOf(tokens), uncond: columnsOf(negativeTokens), control: 1 },
    ownFrom: parent?.step ?? 0,
  });
  const controls = controlsOf(meta);
  const pictures = picturesOf(meta);
  const expected = checked.whole(meta, "expected", 0, RECORD.steps);
  const last = infos.at(-1);
  if (last !== undefined && expected > 0 && expected <= last.index) {
    throw new Fault(`it has step ${last.index} of ${expected}`);
  }
  const { steps, missing } = stepsOf(infos, content);
  const there = pictures.filter((name) => tensors.has(name));
  const images = new Map(there.map((name) => [name, content.image(name)]));
  checkImages(images, infos.length > 0 ? (content.shape[0] as number) : settings.batch_size);
  const lost = [
    ...missing.map((index) => `step ${index}`),
    ...pictures.filter((name) => !tensors.has(name)),
  ];
  const arrays = ["factors", "given_latents", "given_depth", "given_label_map"];
  const known = new Set([...arrays, ...pictures]);
  const strange = strangersOf(infos, content).filter((name) => !known.has(name));
  const fields = [...meta.keys()].filter((name) => !FIELDS.has(name));
  const more = [...new Set([...strange, ...fields])].sort(compared);
  const strangers = [...unknown.map((name) => `settings.${name}`).sort(compared), ...more];
  const notices = checked.texts(meta, "notices", 1000);
  if (lost.length > 0) notices.push(`Missing in the file: ${few(lost)}.`);
  if (strangers.length > 0) {
    notices.push(`The file has what this version does not know: ${few(strangers)}.`);
  }
  const versions = checked.mapping(meta, "versions");
  const batch = imagesOf(pictures);
  const lack = batch.findIndex((name) => !images.has(name));
  return {
    model: checked.text(meta, "model"),
    task: checked.text(meta, "task"),
    settings,
    tokens,
    negativeTokens,
    steps,
    images: lack < 0 ? batch : batch.slice(0, lack),
    expected,
    complete: checked.flag(meta, "complete") && lost.length === 0,
    runSeconds: checked.seconds(meta, "run_seconds"),
    notices,
    versions: new Map([...versions.keys()].map((name) => [name, checked.text(versions, name)])),
    fingerprint: checked.text(meta, "fingerprint"),
    prediction: checked.textOrNone(meta, "prediction"),
    predictionSource: checked.textOrNone(meta, "prediction_source"),
    givenImage: images.has("given_image"),
    givenMask: images.has("given_mask"),
    givenDepth: content.givenDepth() !== undefined,
    givenLabelMap: content.givenLabelMap() !== undefined,
    neighbours: there.filter((name) => name.startsWith(GIVEN_NEIGHBOUR)).length,
    guide: guideOf(meta),
    givenLatents: content.givenLatents() !== undefined,
    controls,
    factors: content.factors(),
    scheduleSigmas: sigmasOf(meta),
    precision,
    sources: sourcesOf(meta),
    parent,
    content,
  };
}

function stepOf(given: JsonObject): StepInfo {
  const parts = checked.texts(given, "parts", PARTS.length);
  const right = ["x", "denoised"].every((one) => parts.includes(one));
  if (!right || !parts.every((one) => PARTS.includes(one))) {
    throw new Fault(`parts of a step are ${short(parts, "()")}`);
  }
  const info = {
    index: checked.whole(given, "index", 0, RECORD.steps - 1),
    sigma: checked.real(given, "sigma", RECORD.sigma),
    sigma_next: checked.real(given, "sigma_next", RECORD.sigma),
    seconds: checked.seconds(given, "seconds"),
    parts,
  };
  // only a run that goes on from here asks how often noise was drawn before
  if ((given.get("draws") ?? null) !== null) checked.whole(given, "draws", 0, 100 * RECORD.steps);
  return info;
}

/** The whole steps, and the indices of the others. */
function stepsOf(infos: readonly StepInfo[], content: Tensors) {
  const whole = infos.map((info) => content.has(info));
  const steps: StepInfo[] = [];
  const missing: number[] = [];
  infos.forEach((info, i) => {
    const after = infos[i + 1];
    let following: string | undefined;
    if (info.parts.includes("x_next")) following = `steps.${info.index}.x_next`;
    else if (after?.index === info.index + 1) following = `steps.${after.index}.x`;
    if (!whole[i] || following === undefined || !content.all.has(following)) {
      missing.push(info.index);
      return;
    }
    content.check(info);
    if (!whole[i + 1]) content.checkLatents(following);
    steps.push(info);
  });
  return { steps, missing };
}

const NAME = /^steps\.(\d{1,6})\.(?:([a-z_]+)|(attention\.[a-z]+|control)\.(\d{1,6})(\.scale)?)$/;

/** The tensors that belong to no step, as far as this version knows. */
function strangersOf(infos: readonly StepInfo[], content: Tensors): string[] {
  const parts = new Map(infos.map((info) => [String(info.index), info.parts]));
  const strangers: string[] = [];
  for (const name of content.all.keys()) {
    const [, index = "", latents = "", part, number, scale] = NAME.exec(name) ?? [];
    let wanted = latents;
    if (part !== undefined) {
      const kind = part.replace("attention.", "");
      const layers = content.grids.get(kind)?.size ?? 0;
      const isKnown = Number(number) < layers && (!scale || content.isScaled(kind));
      wanted = isKnown ? part : "";
    }
    if (!parts.get(index)?.includes(wanted)) strangers.push(name);
  }
  return strangers;
}

/** [B, C, h, w] of all latents; in someone's own loop, B may exceed the settings' batch. */
function shapeOf(meta: JsonObject, batch: number): number[] {
  const { pieces, side } = RECORD;
  const shape = checked.wholes(meta.get("latents"), [batch, 1, 1, 1], [BATCH, pieces, side, side]);
  if (shape === undefined) throw new Fault(`latents is ${short(meta.get("latents"))}`);
  return shape;
}

function gridsOf(meta: JsonObject, infos: readonly StepInfo[]): Grids {
  const given = checked.mapping(meta, "layers");
  const layers = Object.keys(KINDS)
    .filter((kind) => given.has(kind))
    .map((kind) => [kind, checked.mapping(given, kind)] as const);
  const each = layers.reduce((sum, [, sizes]) => sum + sizes.size, 0);
  const count = Math.max(infos.length, 1) * each;
  if (count > RECORD.layers) throw new Fault(`its steps would have ${commas(count)} layers`);
  const grids = new Map<string, Map<string, Grid>>();
  for (const [kind, sizes] of layers) {
    const found = new Map<string, Grid>();
    for (const [layer, value] of sizes) {
      const grid = checked.wholes(value, [1, 1], [RECORD.side, RECORD.side]);
      if (grid === undefined || (kind === "cells" && grid[0] !== grid[1])) {
        throw new Fault(`the size of ${short(layer)} is ${short(value)}`);
      }
      found.set(layer, grid as unknown as Grid);
    }
    grids.set(kind, found);
  }
  const isLatents = (part: string) => (LATENTS as readonly string[]).includes(part);
  for (const part of new Set(
    infos.flatMap((info) => info.parts.filter((one) => !isLatents(one))),
  )) {
    if (!grids.get(part.replace("attention.", ""))?.size) {
      throw new Fault(`it lists no layers of ${part}`);
    }
  }
  return grids;
}

/** The prompts of a batch, one for each image; or none. */
function promptsOf(meta: JsonObject, name: string, batch: number): PromptTokens[] {
  const prompts = checked.mappings(meta, name, BATCH).map(promptOf);
  if (prompts.length !== 0 && prompts.length !== batch) {
    throw new Fault(`${name} are those of ${prompts.length} images, not ${batch}`);
  }
  return prompts;
}

function promptOf(given: JsonObject): PromptTokens {
  const prompt = checked.text(given, "prompt");
  const pieces = checked.texts(given, "pieces", RECORD.pieces);
  const value = given.get("spans");
  const length = lengthOf(prompt);
  const spans = Array.isArray(value)
    ? value.map((span) => checked.wholes(span, [0, 0], [length, length]))
    : [];
  const right = spans.every((span) => span && (span[0] as number) <= (span[1] as number));
  if (!Array.isArray(value) || spans.length !== pieces.length || !right) {
    throw new Fault(`spans of a prompt are ${short(value)}`);
  }
  return {
    prompt,
    pieces,
    spans: spans as [number, number][],
    cut: checked.text(given, "cut"),
    slots: checked.whole(given, "slots", 0, RECORD.pieces + 2),
    ...readingOf(given, pieces.length),
  };
}

/** How a prompt of that many pieces was read; files from before this was kept have none of it. */
function readingOf(given: JsonObject, count: number) {
  const places = given.get("places") ?? [];
  const most = RECORD.pieces + 2;
  const none = Array.isArray(places) && places.length === 0;
  const found = none
    ? []
    : checked.wholes(places, Array(count + 2).fill(0), Array(count + 2).fill(most));
  if (!found) throw new Fault(`places of a prompt are ${short(places)}`);
  const weights = given.get("weights") ?? [];
  const right =
    Array.isArray(weights) &&
    (weights.length === 0 || weights.length === count) &&
    weights.every((one) => isWeight(one));
  if (!right) throw new Fault(`weights of a prompt are ${short(weights)}`);
  const learnt = given.has("learnt") ? checked.texts(given, "learnt", RECORD.pieces) : [];
  if (learnt.length !== 0 && learnt.length !== count) {
    throw new Fault(`learnt words of a prompt are ${short(given.get("learnt"))}`);
  }
  const padding = given.has("padding") ? checked.texts(given, "padding", ENCODERS) : [];
  return { places: found, weights: weights.map(Number), learnt, padding };
}

const isWeight = (value: Json) =>
  (typeof value === "bigint" || typeof value === "number") && Math.abs(Number(value)) <= 100;

function sourcesOf(meta: JsonObject): ModelSource[] {
  if (!meta.has("sources")) return [];
  return checked.mappings(meta, "sources", SOURCES.most).map(modelSource);
}

/** The controls; [] in a file from before there were any. */
function controlsOf(meta: JsonObject): GivenControl[] {
  if (!meta.has("controls")) return [];
  return checked.mappings(meta, "controls", MOST_CONTROLS).map(givenControl);
}

/** The fewest columns that attention has: the start, the longest prompt's pieces, the end, and all
 * that follows. */
const columnsOf = (prompts: readonly PromptTokens[]) =>
  prompts.length === 0 ? 1 : Math.max(...prompts.map(({ pieces }) => pieces.length + 3));

/** Refuses images that no run has together; those that were not read yet count as right. */
function checkImages(images: ReadonlyMap<string, ImageInfo | undefined>, batch: number) {
  const count = imagesOf([...images.keys()]).length;
  if (count > batch) throw new Fault(`it has ${count} images of a batch of ${batch}`);
  const [image, mask] = [images.get("given_image"), images.get("given_mask")];
  const isSame = (one: ImageInfo, other: ImageInfo) =>
    one.width === other.width && one.height === other.height;
  if (mask && (mask.mode !== "L" || (image && !isSame(image, mask)))) {
    throw new Fault("given_mask does not fit given_image");
  }
  const made = imagesOf([...images.keys()]).map((name) => images.get(name));
  const read = made.filter((one) => one !== undefined);
  if (read.some((one) => !isSame(one, read[0] as ImageInfo))) {
    throw new Fault("its images differ in size");
  }
}

/** The images that the file should have. */
export function picturesOf(meta: JsonObject): string[] {
  const most = BATCH + GIVEN.length + MOST_CONTROLS + MOST_NEIGHBOURS;
  const names = checked.texts(meta, "pictures", most);
  const images = imagesOf(names);
  const own = followedBy(controlsOf(meta).length);
  const isStrange = (name: string) => name.startsWith(GIVEN_CONTROL) && !own.includes(name);
  const near = names.filter((name) => name.startsWith(GIVEN_NEIGHBOUR));
  const isInOrder =
    images.every((name, i) => name === `images.${i}`) &&
    near.every((name, i) => name === `${GIVEN_NEIGHBOUR}${i}`);
  if (new Set(names).size < names.length || !isInOrder || names.some(isStrange)) {
    throw new Fault(`pictures is ${short(names, "()")}`);
  }
  return names;
}

/** The images of the batch; the others were given to the run. */
const imagesOf = (names: readonly string[]) =>
  names.filter(
    (name) =>
      !GIVEN.includes(name) && !name.startsWith(GIVEN_CONTROL) && !name.startsWith(GIVEN_NEIGHBOUR),
  );

/** The tensors with the images that so many controls followed. */
export const followedBy = (controls: number) => times(controls, (i) => `${GIVEN_CONTROL}${i}`);

function precisionOf(meta: JsonObject): string {
  const given = checked.mapping(meta, "stored");
  const precision = given.get("precision");
  if (!(PRECISIONS as readonly Json[]).includes(precision as Json)) {
    throw new Fault(`precision is ${short(precision)}`);
  }
  const errors = checked.mapping(given, "largest errors");
  const blocks = checked.mapping(given, "averaged");
  for (const name of ["latents", "attention", "averaging"]) {
    if (errors.has(name)) checked.real(errors, name, 1e9);
  }
  for (const name of blocks.keys()) checked.whole(blocks, name, 1, RECORD.side / RECORD.cells);
  return precision as string;
}

/** The noise levels of the training schedule. */
function sigmasOf(meta: JsonObject): number[] {
  const given = meta.get("schedule_sigmas");
  if (!Array.isArray(given) || given.length > RECORD.steps) {
    throw new Fault(`schedule_sigmas is ${short(given)}`);
  }
  return given.map((one) =>
    checked.real(new Map([["schedule_sigmas", one]]), "schedule_sigmas", RECORD.sigma),
  );
}

/** The first few names, each short and printable, and how many more there are. */
function few(names: readonly string[], most = 8): string {
  const shown = names.slice(0, most).map((name) => ascii(name).slice(1, -1).slice(0, 60));
  const more = names.length > most ? ` and ${commas(names.length - most)} more` : "";
  return shown.join(", ") + more;
}
