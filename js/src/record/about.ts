// The settings and sources of a run in words (trace/about.py).

import { DEFAULTS, OPTIONS } from "../lib/contract";
import { type Layout, layoutsIn } from "./classes";
import { nearestEven } from "./frames";
import type { GivenControl } from "./given";
import type { Parent } from "./parent";
import { general, type Json, shortened, words } from "./python";
import { tenths, totalOf } from "./said";
import { each, finalSize, type Settings, seedsOf, TOLD } from "./settings";
import type { ModelSource } from "./sources";
import type { Unpacked } from "./unpacked";

/** What `about` reads of a record, which an image's file also says. */
export type Told = Pick<
  Unpacked,
  | "settings"
  | "task"
  | "model"
  | "expected"
  | "complete"
  | "runSeconds"
  | "versions"
  | "fingerprint"
  | "prediction"
  | "predictionSource"
  | "sources"
  | "givenImage"
  | "guide"
  | "controls"
  | "parent"
> & { readonly steps: readonly { readonly seconds: number | null }[] };

/** Width and height of each image in pixels. */
export type Size = readonly [number, number];

/** The size of the images; of steps of someone's own, 8 times the latents'. `made`: the size of the
 * record's images, if it has any. */
export function sizeOf({ settings, content }: Unpacked, made: Size | undefined): Size {
  if (made !== undefined) return made;
  if (settings.width && settings.height) return finalSize(settings);
  const [, , h = 0, w = 0] = content.shape;
  return [8 * w, 8 * h];
}

const promptOf = ({ prompt }: Settings) => (Array.isArray(prompt) ? (prompt[0] ?? "") : prompt);

/** The prompt on one line. */
export const lineOf = ({ settings }: Unpacked) => words(promptOf(settings)).join(" ");

/** The prompt on one line, or a title for a run without one. */
export const headline = (record: Unpacked) => lineOf(record) || "A run of a diffusion model";

const times = ([width, height]: Size) => `${width} × ${height}`;

/** The most important settings, briefly: "seed 7", "20 steps", ... */
export function summary(record: Unpacked, size: Size): string[] {
  const { settings, expected, steps, task, content } = record;
  const count = expected || steps.length;
  let parts = [count === 1 ? "1 step" : `${count} steps`];
  if (task) {
    const { guidance_scale: guidance, sampler } = settings;
    const said = guidance === null ? "" : `guidance ${general(guidance)}`;
    parts = [`seed ${seedWords(settings)}`, ...parts, sampler ?? "", said];
  }
  parts.push(times(size), record.model);
  const batch = steps.length > 0 ? (content.shape[0] ?? 1) : settings.batch_size;
  if (batch > 1) parts.unshift(`${batch} images`);
  return parts.filter((part) => part !== "");
}

/** All settings and sources as a name and a text, which may have several lines. */
export function about(record: Told, size: Size): [string, string][] {
  const { settings, task } = record;
  const { batch_size: batch, guidance_scale: guidance } = settings;
  const texts = (value: string | string[]) => lines(each(value, batch)).trim() || "none";
  const versions = [...record.versions].map(([name, version]) => `${name} ${version}`);
  const rows: [string, string][] = [
    ["prompt", texts(settings.prompt)],
    ["negative prompt", texts(settings.negative_prompt)],
    ["toward", towardWords(settings)],
    ["label", labelWords(settings)],
    ["boxes", boxWords(settings)],
    ["reading", readingWords(settings)],
    ["came from", ancestry(settings, record.parent).join("\n")],
    ["seed", seedWords(settings)],
    ["variation", variationWords(settings)],
    ["steps", stepWords(record)],
    ["sampler", task ? (settings.sampler ?? "") : ""],
    ["schedule", task ? scheduleWords(settings) : ""],
    ["guidance", guidance === null || !task ? "" : guidanceWords(guidance, settings)],
    ["size", `${times(size)} pixels`],
    ["hires", hiresWords(settings)],
    ["padding", paddingWords(settings)],
    ["window", settings.window === null ? "" : `${settings.window} pixels`],
    ["refiner", refinerWords(settings)],
    ["guide", guideWords(record)],
    ["task", taskWords(record)],
    ["model", record.model],
    ["prediction", predictionWords(record)],
    ["fingerprint", record.fingerprint],
    ["controls", record.controls.map(controlWords).join("\n")],
    ["sources", record.sources.map(sourceWords).join("\n")],
    ["made with", versions.join(", ")],
  ];
  return rows.filter(([, text]) => text.trim() !== "");
}

/** The texts, a line each; a single line where all are the same. */
const lines = (texts: string[]) => (new Set(texts).size > 1 ? texts.join("\n") : (texts[0] ?? ""));

/** How the prompts were read, where that is not as usual. */
function readingWords({ weights, clip_skip: skip, chunks }: Settings): string {
  const parts = weights === DEFAULTS.weights ? [] : [`weights ${weights}`];
  if (skip > 0) parts.push(`clip skip ${skip}`);
  if (chunks !== DEFAULTS.chunks) parts.push(chunks === 1 ? "1 chunk" : `${chunks} chunks`);
  return parts.join(", ");
}

/** The name of the grid, or its noise levels if they were given. */
function scheduleWords({ schedule, sigmas }: Settings): string {
  if (sigmas === null) return schedule;
  const levels = sigmas.map(general);
  if (levels.length <= 12) return levels.join(", ");
  return `${levels.length} levels from ${levels[0]} to ${levels.at(-1)}`;
}

/** "7", "7 to 10", or "7, 3, 5". */
function seedWords(settings: Settings): string {
  const seeds = seedsOf(settings) ?? [];
  const inOrder = seeds.every((seed, i) => i === 0 || seed === (seeds[i - 1] as number) + 1);
  return seeds.length > 2 && inOrder ? `${seeds[0]} to ${seeds.at(-1)}` : seeds.join(", ");
}

function stepWords(record: Told): string {
  const whole = record.expected || record.steps.length;
  const total = totalOf(record);
  const text = total > 0 ? `${whole} in ${tenths(total)} s` : `${whole}`;
  const parts = [text, partWords(record.settings), record.complete ? "" : "stopped before its end"];
  return joined(parts);
}

function guidanceWords(guidance: number, { guidance_rescale: rescaled }: Settings): string {
  return general(guidance) + (rescaled > 0 ? `, rescaled by ${general(rescaled)}` : "");
}

/** The task, with the settings that only it or its sampler has. */
function taskWords({ task, settings, givenImage }: Told): string {
  const parts = [task];
  if (givenImage) parts.push(`strength ${general(settings.strength)}`, `fit ${settings.fit}`);
  parts.push(
    ...[...(Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]), ...TOLD].map((name) =>
      toldWords(settings, name),
    ),
  );
  return parts.filter((part) => part !== "").join(", ");
}

/** A setting that only some models or samplers take, "noise level 20"; "" where it is null. */
export function toldWords(
  settings: Settings,
  name: (typeof TOLD)[number] | keyof typeof OPTIONS,
): string {
  const value = settings[name];
  return value === null ? "" : `${name.replaceAll("_", " ")} ${general(value)}`;
}

const joined = (parts: readonly string[]) => parts.filter((part) => part !== "").join(", ");
const counted = (steps: number | null) =>
  steps === null ? "" : steps === 1 ? "1 step" : `${steps} steps`;

/** The steps that were made, counted from 0, of the noise levels' steps; "" if all were. */
export function partWords({ start_step: start, end_step: end, steps }: Settings): string {
  if (start === 0 && end === null) return "";
  const last = end === null ? "the last" : `${end - 1}`;
  return `from step ${start} to ${last}${steps === null ? "" : ` of ${steps}`}`;
}

/** "0.2 of the way to seed 7"; "" where the noise is the seed's own. */
export function variationWords({ variation }: Settings): string {
  if (variation === null) return "";
  const [seed, strength] = variation;
  const to = Array.isArray(seed) ? `seeds ${seed.join(", ")}` : `seed ${seed}`;
  return `${general(strength)} of the way to ${to}`;
}

/** "0.2 of the way to a dog"; "" where the context is the prompt's own. */
export const towardWords = ({ toward }: Settings) =>
  toward === null ? "" : `${general(toward[1])} of the way to ${toward[0].trim() || "none"}`;

/** The class of each image, a line each; "" where none was given. */
export function labelWords({ label, batch_size: batch }: Settings): string {
  const labels = each(label, batch);
  if (labels.every((one) => one === null)) return "";
  return lines(labels.map((one) => (one === null ? "none" : `${one}`)));
}

/** "cat 0.1 0.2 0.5 0.75, dog ..." of each image, a line each; "" where no boxes were given. */
export function boxWords({ boxes, batch_size: batch }: Settings): string {
  if (boxes === null) return "";
  const layouts = layoutsIn(boxes) ?? Array.from({ length: batch }, () => boxes as Layout);
  const boxed = ([name, corners]: Layout[number]) => [name, ...corners.map(general)].join(" ");
  return lines(layouts.map((layout) => layout.map(boxed).join(", ") || "none"));
}

/** The name of the guide, and how much it steered; "" without one. */
export function guideWords({ guide, settings }: Pick<Told, "guide" | "settings">): string {
  if (guide === undefined) return "";
  const name = shortened(String(guide.get("function") || guide.get("name")), QUOTED);
  return `${name}, scale ${general(settings.guide_scale)}`;
}

/** "left 64, right 64 pixels"; "" where no area was added. */
export function paddingWords({ pad }: Settings): string {
  if (pad === null) return "";
  const sides = ["left", "top", "right", "bottom"].map((side, i) =>
    pad[i] ? `${side} ${pad[i]}` : "",
  );
  return `${joined(sides)} pixels`;
}

/** The second pass; "" for a run of a single pass. */
export function hiresWords(settings: Settings): string {
  const { hires, hires_strength: strength, hires_steps: steps, hires_method: method } = settings;
  if (hires === null) return "";
  const size = `${general(hires)} times as large`;
  return joined([size, `strength ${general(strength)}`, counted(steps), `enlarged as ${method}`]);
}

/** From where a second model went on; "" if there was none. */
export const refinerWords = ({ refiner_start: start }: Settings) =>
  start === null ? "" : `another model from ${nearestEven(100 * start)}% of the way`;

const QUOTED = 60; // characters of a text within a sentence

/** How a run came from another, briefly; "" for a run of its own. */
export function cameWords(parent: Parent | undefined): string {
  if (parent === undefined) return "";
  const { how, step } = parent;
  if (how === "branch") return `branched at step ${step}`;
  if (how === "edit") return "edited";
  return how === "hires" ? "second pass" : `another run (${shortened(how, QUOTED)})`;
}

/** How a run came from another, that one from a third, ..., a line each. */
function ancestry(settings: Settings, parent: Parent | undefined): string[] {
  if (parent === undefined) return [];
  return [descent(settings, parent), ...ancestry(parent.settings, parent.parent)];
}

/** How a run with these settings came from its parent. */
function descent(settings: Settings, parent: Parent): string {
  const { how, step, seed, settings: above } = parent;
  if (how === "hires") return `second pass, after one at ${above.width} × ${above.height} pixels`;
  if (how === "edit") return `edited: ${editWords(settings, parent)}`;
  if (how !== "branch") {
    return `another run (${shortened(how, QUOTED)}), with the prompt ${quoted(above.prompt)}`;
  }
  const count = above.steps === null ? "" : ` of ${above.steps}`;
  const [own, its] = [settings, above].map(changeable) as [string[], string[]];
  const other = joined(its.map((text, i) => (text === own[i] ? "" : text)));
  const from = other === "" ? "" : ` from a run with ${other}`;
  const seeds = Array.isArray(seed) ? seed : [seed];
  const fresh = seed === null ? "" : `, with the noise of seed ${seeds.join(", ")}`;
  return `branched at step ${step}${count}${from}${fresh}`;
}

/** The settings that a branch changes most, in words. */
function changeable(settings: Settings): string[] {
  const { guidance_scale: guidance, steps, sampler, schedule } = settings;
  return [
    `the prompt ${quoted(settings.prompt)}`,
    `the negative prompt ${quoted(settings.negative_prompt)}`,
    guidance === null ? "" : `guidance ${general(guidance)}`,
    counted(steps),
    sampler ?? "",
    schedule === DEFAULTS.schedule ? "" : `schedule ${schedule}`,
  ];
}

/** What an edit changed: words, or the prompt. */
function editWords(settings: Settings, { settings: above, edit }: Parent): string {
  const [before, after] = [quoted(above.prompt), quoted(settings.prompt)];
  const parts = before === after ? [] : [`${before} → ${after}`];
  const get = (name: string): Json => edit?.get(name) ?? null;
  const [word, other, factors] = ["word", "replacement", "weights"].map(get);
  if (typeof word === "string") {
    const instead = typeof other === "string" && other !== "" ? other : "nothing";
    parts.splice(0, 1, `${shortened(word, QUOTED)} → ${shortened(instead, QUOTED)}`);
  }
  for (const [name, factor] of factors instanceof Map ? factors : []) {
    const isNumber = typeof factor === "number" || typeof factor === "bigint";
    if (isNumber) parts.push(`${shortened(name, QUOTED)} × ${general(Number(factor))}`);
  }
  return joined(parts) || before;
}

/** The text, or the first of several, on one line in quotation marks. */
const quoted = (text: string | string[]) =>
  `“${shortened(words((Array.isArray(text) ? text[0] : text) ?? "").join(" "), QUOTED)}”`;

function predictionWords({ prediction, predictionSource }: Told): string {
  const known = prediction !== "" && predictionSource !== "";
  return known ? `${prediction}, from ${predictionSource}` : prediction;
}

function controlWords({ name, strength, start, end }: GivenControl): string {
  const parts = [name, `strength ${general(strength)}`];
  const share = (value: number) => `${nearestEven(100 * value)}%`;
  if (start !== 0 || end !== 1) parts.push(`from ${share(start)} to ${share(end)} of the steps`);
  return parts.join(", ");
}

function sourceWords(source: ModelSource): string {
  const { name, kind, strength, textStrength, commit, sha256 } = source;
  const parts = [name, kind === "checkpoint" ? "" : kind];
  if (strength !== null) parts.push(`strength ${general(strength)}`);
  if (textStrength !== null) parts.push(`text strength ${general(textStrength)}`);
  if (commit !== "") parts.push(`commit ${commit}`);
  if (sha256 !== "") parts.push(`SHA-256 ${sha256}`);
  return parts.filter((part) => part !== "").join(", ");
}
