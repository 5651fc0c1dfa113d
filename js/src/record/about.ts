// The settings and sources of a run in words (trace/about.py).

import { DEFAULTS } from "../lib/contract";
import { nearestEven } from "./frames";
import { general, words } from "./python";
import { tenths, totalOf } from "./said";
import { each, type Settings, seedsOf, TOLD } from "./settings";
import type { ModelSource } from "./sources";
import type { GivenControl, Unpacked } from "./unpacked";

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
  | "controls"
> & { readonly steps: readonly { readonly seconds: number | null }[] };

/** Width and height of each image in pixels. */
export type Size = readonly [number, number];

/** The size of the images; of steps of someone's own, 8 times the latents'. `made`: the size of the
 * record's images, if it has any. */
export function sizeOf({ settings, content }: Unpacked, made: Size | undefined): Size {
  if (made !== undefined) return made;
  if (settings.width && settings.height) return [settings.width, settings.height];
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
    parts = [`seed ${seedWords(settings)}`, ...parts, sampler, said];
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
    ["reading", readingWords(settings)],
    ["seed", seedWords(settings)],
    ["steps", stepWords(record)],
    ["sampler", task ? settings.sampler : ""],
    ["schedule", task ? settings.schedule : ""],
    ["guidance", guidance === null || !task ? "" : guidanceWords(guidance, settings)],
    ["size", `${times(size)} pixels`],
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
  return record.complete ? text : `${text}, stopped before its end`;
}

function guidanceWords(guidance: number, { guidance_rescale: rescaled }: Settings): string {
  return general(guidance) + (rescaled > 0 ? `, rescaled by ${general(rescaled)}` : "");
}

/** The task, with the settings that only it or its sampler has. */
function taskWords({ task, settings, givenImage }: Told): string {
  const parts = [task];
  if (givenImage) parts.push(`strength ${general(settings.strength)}`, `fit ${settings.fit}`);
  if (settings.eta > 0) parts.push(`eta ${general(settings.eta)}`);
  parts.push(...TOLD.map((name) => toldWords(settings, name)));
  return parts.filter((part) => part !== "").join(", ");
}

/** A setting that only some models are told, "noise level 20"; "" for other models. */
export function toldWords(settings: Settings, name: (typeof TOLD)[number]): string {
  const value = settings[name];
  return value === null ? "" : `${name.replaceAll("_", " ")} ${general(value)}`;
}

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
