// What Python says about a record: messages, labels, and the record inside a PNG.

import { SETTINGS_FORMAT, TEXT_KEY } from "../lib/contract";
import type { Picture } from "../lib/show";
import { withText } from "./images";
import { ofImageAt, parentJson } from "./parent";
import { dumps, type Json, type JsonObject, shortened } from "./python";
import { each, ofImage, seedsOf, settingsJson } from "./settings";
import { sourceJson } from "./sources";
import type { Unpacked } from "./unpacked";

const SHOWN = 300; // characters of a prompt in labels

/** Seconds that all steps of the run took; of those kept, where no more is known. */
export const totalOf = ({
  runSeconds,
  steps,
}: Pick<Unpacked, "runSeconds"> & { readonly steps: readonly { seconds: number | null }[] }) =>
  runSeconds ?? steps.reduce((sum, { seconds }) => sum + (seconds ?? 0), 0);

const counted = (steps: number) => (steps === 1 ? "1 step" : `${steps} steps`);

/** A number with one digit behind the point, as Python rounds it: of two, the even one. */
export function tenths(value: number): string {
  const isTie = Number.isInteger(value * 4) && !Number.isInteger(value * 2);
  if (!isTie) return value.toFixed(1);
  const low = Math.floor(value * 10);
  return ((low % 2 === 0 ? low : low + 1) / 10).toFixed(1);
}

/** The message of a viewer that shows the record. */
export function messageOf(record: Unpacked): string {
  const { complete, notices } = record;
  const steps = record.steps.length;
  if (!complete) return steps === 0 ? "" : `Stopped after ${counted(steps)}`;
  const total = totalOf(record);
  const took = total > 0 ? ` in ${tenths(total)} s` : "";
  return [`Done: ${counted(steps)}${took}`, ...notices].join("\n");
}

export const stateOf = ({ complete, steps }: Unpacked) =>
  complete ? "done" : steps.length > 0 ? "stopped" : "idle";

/** The final images for a viewer, from the PNG files of the record. */
export function picturesOf(record: Unpacked, files: readonly Uint8Array[]): Picture[] {
  const { settings } = record;
  const prompts = each(settings.prompt, settings.batch_size);
  const seeds = seedsOf(settings);
  return files.map((file, i) => {
    const prompt = shortened(prompts[i] ?? prompts[0] ?? "", SHOWN);
    const seed = seeds?.[i] ?? null;
    const label = `the image for: ${prompt || "no prompt"}`;
    return {
      data: withText(file, TEXT_KEY, dumps(recordOf(record, i), { ascii: false })),
      type: "image/png",
      prompt,
      seed,
      label: seed === null ? label : `${label}, seed ${seed}`,
    };
  });
}

/** What is written into an image's file (`png.settings_record`). */
export function recordOf(record: Unpacked, image: number): JsonObject {
  const { settings, tokens, complete } = record;
  const isOwn = settings.seed !== null && image < settings.batch_size;
  const made: [string, Json][] = [
    ["model", record.model],
    ["task", record.task],
    ["settings", settingsJson(isOwn ? ofImage(settings, image) : settings)],
    ["settings_format", BigInt(SETTINGS_FORMAT)],
    ["versions", new Map(record.versions)],
  ];
  const given = [
    record.givenImage ? "image" : "",
    record.givenMask ? "mask" : "",
    record.givenDepth ? "depth" : "",
    record.givenLabelMap ? "label_map" : "",
    record.neighbours > 0 ? "neighbours" : "",
    record.givenLatents ? "latents" : "",
    record.controls.length > 0 ? "control" : "",
    record.guide ? "guide" : "",
  ];
  const parent = record.parent && parentJson(ofImageAt(record.parent, image));
  const more: [string, string | Json[]][] = [
    ["fingerprint", record.fingerprint],
    ["prediction", record.prediction],
    ["prediction_source", record.predictionSource],
    ["sources", record.sources.map(sourceJson)],
    ["given", given.filter((one) => one !== "")],
    ["controls", record.controls.map((one) => new Map<string, Json>(Object.entries(one)))],
    ["cut", tokens[image]?.cut ?? ""],
    ["notices", [...record.notices]],
  ];
  const [before, after] = [more.slice(0, 5), more.slice(5)];
  const there = (some: typeof more) => some.filter(([, value]) => value.length > 0);
  made.push(...there(before));
  if (record.guide) made.push(["guide", record.guide]);
  made.push(...there(after));
  if (parent) made.push(["parent", parent]);
  if (!complete) made.push(["complete", false]);
  return new Map(made);
}
