// The header of a run, as the kernel writes it and as a page checks it.

import { AGAINST, HEADER_VERSION, LIMITS, MOST_CONTROLS, PLACES } from "./contract";
import { isNumber, isWhole } from "./numbers";

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
  controls?: Control[]; // the images that the run followed
  levels?: string[]; // labels of the levels at which what they add is recorded
  parent?: { how: string; step: number }; // the run from which it came, whose own its first steps are
}

/** An image that a run followed, by a ControlNet. */
export interface Control {
  name: string; // of the network
  strength: number;
  start: number; // share of the steps in which it acted, 0 to 1
  end: number;
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
  places?: number[]; // the slots of the start, the pieces and the end; none: they are the first
  weights?: number[]; // of each piece; none: all are 1
  learnt?: string[]; // of each piece, the learnt word that it is a vector of; none: there is none
  padding?: string[]; // the token that fills up, of each text encoder
}

export interface Word {
  text: string;
  tokens: number[]; // columns of the attention
  start: number; // in the prompt, counted in code points
  end: number;
}

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string" && value.length <= LIMITS.text;

const isCount =
  (most: number): Check =>
  (value) =>
    isWhole(value, most, 0);

const isOneOf =
  (known: readonly unknown[]): Check =>
  (value) =>
    known.includes(value);

const isList =
  (isItem: Check, most: number = LIMITS.tokens, least = 0): Check =>
  (value) =>
    Array.isArray(value) && value.length >= least && value.length <= most && value.every(isItem);

/** A check for objects with these fields, and perhaps others. */
const isLike = (fields: Record<string, Check>): Check => {
  const checks = Object.entries(fields);
  return (value) =>
    typeof value === "object" &&
    value !== null &&
    checks.every(([name, isRight]) => isRight((value as Record<string, unknown>)[name]));
};

const isMissingOr =
  (isRight: Check): Check =>
  (value) =>
    value === undefined || isRight(value);

const isToken = isCount(LIMITS.tokens);
const isPixels = isCount(LIMITS.pixels);
const isNumbers = isList(isNumber);

const isControls = isList(
  isLike({ name: isText, strength: isNumber, start: isNumber, end: isNumber }),
  MOST_CONTROLS,
);

const isHeader = isLike({
  v: isOneOf([HEADER_VERSION]),
  run: isNumber,
  model: isText,
  task: isText,
  sampler: isText,
  schedule: isText,
  steps: isPixels,
  guidance_scale: isNumber,
  guided: isOneOf([true, false]),
  width: isPixels,
  height: isPixels,
  factors: isList(isList(isNumber, 3, 3)),
  sigmas: isNumbers,
  schedule_sigmas: isNumbers,
  layers: isList(isLike({ name: isText, label: isText, place: isOneOf(PLACES) }), LIMITS.layers),
  recipe: isLike({
    layers: isList(isCount(LIMITS.layers)),
    steps: isList(isNumber, 2, 2),
    against: isOneOf(AGAINST),
  }),
  pictures: isList(
    isLike({
      prompt: isText,
      negative_prompt: isText,
      seed: isNumber,
      slots: isToken,
      cut: isText,
      pieces: isList(isText),
      words: isList(
        isLike({ text: isText, tokens: isList(isToken), start: isNumber, end: isNumber }),
      ),
      places: isMissingOr(isList(isToken)),
      weights: isMissingOr(isNumbers),
      learnt: isMissingOr(isList(isText)),
      padding: isMissingOr(isList(isText)),
    }),
    LIMITS.batch,
  ),
  controls: isMissingOr(isControls),
  levels: isMissingOr(isList(isText, LIMITS.layers)),
  parent: isMissingOr(isLike({ how: isText, step: isPixels })),
});

/** The header in a trait's value; undefined if it is not valid, since it may come from a file. */
export function readHeader(value: unknown): Header | undefined {
  if (!isHeader(value)) return undefined;
  const header = value as Header;
  return header.recipe.layers.every((layer) => layer in header.layers) ? header : undefined;
}

/** The step from which on a branch's steps are its own; 0 for a run that has no others. */
export const branchedAt = ({ parent, steps }: Partial<Header> = {}) =>
  parent?.how === "branch" && parent.step < (steps ?? 0) ? parent.step : 0;
