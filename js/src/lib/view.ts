// What every panel of a viewer gets: the data so far and the selection. A panel is a function
// (view: View) => Panel and asks the kernel for nothing.

import { AGAINST, HEADER_VERSION, LIMITS, PLACES } from "./contract";
import { clamp, isNumber, isWhole, times } from "./numbers";
import type { Frame } from "./reel";
import type { Selection } from "./selection";

export type { Selection } from "./selection";

/** The header of a run: everything except its steps. `readHeader` checks it. */
export interface Header {
  v: typeof HEADER_VERSION;
  run: number; // a new number for every run shown
  saved?: boolean; // the traits hold smaller frames than the original ones
  model: string;
  task: string;
  sampler: string;
  schedule: string;
  steps: number; // expected
  guidance_scale: number;
  guidance_rescale?: number; // above 0, the guided latents are not linear in the two halves
  guided: boolean;
  width: number; // of an image, in pixels
  height: number;
  factors: [number, number, number][]; // [C + 1]: one row a channel, then the constant; RGB in [-1, 1]
  sigmas: number[]; // [steps + 1], or [] if only the frames have them
  schedule_sigmas: number[]; // of the training schedule, thinned, in the order of t; may be []
  layers: Layer[]; // [] if attention is not recorded
  recipe: Recipe;
  pictures: ImageHeader[]; // one for each image of the batch; [] without a prompt
}

export interface Layer {
  name: string;
  label: string; // short: "down 1"
  place: (typeof PLACES)[number];
}

/** Which layers and steps a heat map averages unless something narrower is chosen. */
export interface Recipe {
  layers: number[];
  steps: [number, number]; // half-open interval of (index + 0.5) / steps
  against: (typeof AGAINST)[number];
}

export interface ImageHeader {
  prompt: string;
  negative_prompt: string;
  seed: number;
  slots: number; // of the text encoder: 77
  cut: string; // the part that did not fit; "" if all did
  pieces: string[]; // piece i is token i + 1; 0 is the start, pieces.length + 1 the end, then padding
  words: Word[];
}

export interface Word {
  text: string;
  tokens: number[]; // columns of the attention
  start: number; // in the prompt, counted in code points
  end: number;
}

/** Where the pointer is, in this page only. */
export interface Hover {
  word?: string;
  cell?: { x: number; y: number }; // 0..1 of the image's width and height
}

/** The frames of one run that this page has so far. */
export interface Reel {
  readonly header: Header | undefined;
  readonly frames: readonly Frame[]; // kept ones, in the order of the steps
  readonly version: number; // changes with the data
  at(step: number): Frame | undefined; // the nearest kept; -1: the newest
  /** The indices of all steps, where they are known before the steps are there; sorted. */
  readonly coming?: readonly number[] | undefined;
}

export type What = "data" | "selection" | "hover";

export interface View {
  readonly reel: Reel;
  readonly selection: Selection;
  readonly hover: Hover;
  select(change: Partial<Selection>): void; // sets the traits and saves them
  peek(hover: Hover): void;
  onChange(listener: (what: What) => void): () => void; // returns the cleanup
}

export interface Panel {
  readonly element: HTMLElement;
  update(what: What): void;
  remove?(): void;
}

/** How many images the run makes at once. */
export function batchOf({ reel }: View): number {
  return reel.frames[0]?.size[0] ?? Math.max(reel.header?.pictures.length ?? 0, 1);
}

/** The indices of all of them. */
export const allImages = (view: View) => times(batchOf(view), (i) => i);

/** The index of the image on show. */
export function imageOf(view: View): number {
  return clamp(Math.round(view.selection.picture), 0, batchOf(view) - 1);
}

/** The guidance scale chosen; null for the run's own, which is also used if no other is possible. */
export function guidanceOf(view: View): number | null {
  return (view.reel.header?.guidance_rescale ?? 0) > 0 ? null : view.selection.guidance;
}

/** The indices of the steps that can be shown, also of those that are still to be read. */
export const stepsOf = ({ coming, frames }: Reel): readonly number[] =>
  coming ?? frames.map(({ index }) => index);

/** The place of the step nearest to `step` among all, the earlier of two; -1: the newest. */
export function placeOf(reel: Reel, step: number): number {
  const all = stepsOf(reel);
  if (step < 0) return all.length - 1;
  const off = all.map((index) => Math.abs(index - step));
  return off.indexOf(Math.min(...off));
}

/** Shows the step nearest to `wanted`. The newest is followed, and gives way to the image at the
 * end of the run. */
export function showStep(view: View, wanted: number) {
  const all = stepsOf(view.reel);
  const found = all[placeOf(view.reel, wanted)];
  if (found === undefined) return;
  const step = found === all.at(-1) ? -1 : found;
  if (step !== view.selection.step) view.select({ step });
}

type Record_ = Record<string, unknown>;

const isRecord = (value: unknown): value is Record_ =>
  typeof value === "object" && value !== null && !Array.isArray(value);
const isText = (value: unknown): value is string =>
  typeof value === "string" && value.length <= LIMITS.text;
const isCount = (most: number) => (value: unknown) => isWhole(value, most, 0);
const isList = <T>(value: unknown, each: (one: unknown) => unknown, most: number = LIMITS.tokens) =>
  Array.isArray(value) && value.length <= most && (value as T[]).every((one) => each(one));

const isOneOf = (known: readonly unknown[]) => (value: unknown) => known.includes(value);

const isLayer = (value: unknown) =>
  isRecord(value) && isText(value.name) && isText(value.label) && isOneOf(PLACES)(value.place);

const isRecipe = (value: unknown, layers: number) =>
  isRecord(value) &&
  isList(value.layers, isCount(layers - 1)) &&
  isList(value.steps, isNumber) &&
  (value.steps as number[]).length === 2 &&
  isOneOf(AGAINST)(value.against);

const isWord = (value: unknown) =>
  isRecord(value) &&
  isText(value.text) &&
  isList(value.tokens, isCount(LIMITS.tokens)) &&
  isNumber(value.start) &&
  isNumber(value.end);

const isPicture = (value: unknown) =>
  isRecord(value) &&
  isText(value.prompt) &&
  isText(value.negative_prompt) &&
  isNumber(value.seed) &&
  isCount(LIMITS.tokens)(value.slots) &&
  isText(value.cut) &&
  isList(value.pieces, isText) &&
  isList(value.words, isWord);

const isColour = (value: unknown) => isList(value, isNumber) && (value as number[]).length === 3;

/** The header in a trait's value; undefined if it is not valid, since it may come from a file. */
export function readHeader(value: unknown): Header | undefined {
  if (!isRecord(value) || value.v !== HEADER_VERSION || !isNumber(value.run)) return undefined;
  const texts = ["model", "task", "sampler", "schedule"].every((name) => isText(value[name]));
  const sizes = ["width", "height", "steps"].every((name) => isCount(LIMITS.pixels)(value[name]));
  const right =
    texts &&
    sizes &&
    isNumber(value.guidance_scale) &&
    typeof value.guided === "boolean" &&
    isList(value.factors, isColour) &&
    isList(value.sigmas, isNumber) &&
    isList(value.schedule_sigmas, isNumber) &&
    isList(value.layers, isLayer, LIMITS.layers) &&
    isRecipe(value.recipe, (value.layers as unknown[]).length) &&
    isList(value.pictures, isPicture, LIMITS.batch);
  return right ? (value as unknown as Header) : undefined;
}
