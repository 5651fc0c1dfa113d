// The model of Compare for opened records (widgets/compare.py).

import type { AnyModel } from "@anywidget/types";
import { NUMBERED, OPTIONS } from "../lib/contract";
import { hostModel, type State } from "../lib/host";
import { numbered } from "../lib/shared";
import {
  boxWords,
  cameWords,
  guideWords,
  hiresWords,
  labelWords,
  paddingWords,
  partWords,
  refinerWords,
  toldWords,
  towardWords,
  variationWords,
} from "./about";
import { general, repr, shortened } from "./python";
import type { RecordFile } from "./record";
import { type Settings, TOLD } from "./settings";

const FILMS = numbered("film");

export interface Comparison {
  /** The traits of Compare, which `compare.ts` renders; the steps arrive as they are read. */
  readonly model: AnyModel;
  /** Settles once all steps are there; rejects if a record was refused. */
  readonly loaded: Promise<void>;
}

let compared = 0;

/** Compares two to six opened records, which stay open. */
export function openComparison(records: readonly RecordFile[]): Comparison {
  if (records.length < 2 || records.length > NUMBERED.film) {
    throw new RangeError(`Compare takes 2 to ${NUMBERED.film} records, got ${records.length}.`);
  }
  const state: State = {
    uid: `comparison-${++compared}`,
    headers: records.map(({ header }, i) => ({ ...header, run: i + 1 })),
    labels: labelsOf(records),
    pictures: records.map(({ model }) => model.get("pictures")),
    ...Object.fromEntries(records.map((one, i) => [FILMS[i], film(one.framesSoFar)])),
  };
  const model = hostModel(state);
  const set = (name: string, value: unknown) => model.set(name, value as never);
  const loading = records.map(async (record, i) => {
    const images = record.images.then(() => {
      const now = [...(model.get("pictures") as unknown[])];
      now[i] = record.model.get("pictures");
      set("pictures", now);
    });
    await images;
    set(FILMS[i] as string, film(await record.frames()));
  });
  const loaded = Promise.all(loading).then(() => {});
  loaded.catch(() => {});
  return { model, loaded };
}

/** Frames one after another, each preceded by its length. */
export function film(frames: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(frames.reduce((sum, { length }) => sum + 4 + length, 0));
  const numbers = new DataView(out.buffer);
  let at = 0;
  for (const frame of frames) {
    numbers.setUint32(at, frame.length, true);
    out.set(frame, at + 4);
    at += 4 + frame.length;
  }
  return out;
}

/** A value in Python's words. */
function said(value: string | number | null | (string | number)[]): string {
  if (!Array.isArray(value)) return value === null ? "None" : String(value);
  const parts = value.map((one) => (typeof one === "string" ? repr(one) : String(one)));
  return `(${parts.join(", ")}${parts.length === 1 ? "," : ""})`;
}

const DIFFERENCES: ((settings: Settings, record: RecordFile) => string)[] = [
  ({ prompt }) => shortened(said(prompt), 60) || "no prompt",
  ({ negative_prompt }) => `without ${repr(shortened(said(negative_prompt), 60))}`,
  (settings) => shortened(towardWords(settings), 60),
  (settings) => shortened(labelWords(settings).replaceAll("\n", ", "), 60),
  (settings) => shortened(boxWords(settings).replaceAll("\n", "; "), 60),
  ({ weights }) => `weights ${weights}`,
  ({ clip_skip }) => `clip skip ${clip_skip}`,
  ({ chunks }) => `at most ${chunks} chunks`,
  (_, { unpacked }) => cameWords(unpacked.parent),
  ({ seed }) => `seed ${said(seed)}`,
  variationWords,
  ({ guidance_scale }) => `guidance ${general(guidance_scale ?? 1)}`,
  ({ guidance_rescale }) => `rescaled by ${general(guidance_rescale)}`,
  ({ steps }) => (steps === null ? "" : `${steps} steps`),
  partWords,
  ({ sampler }) => sampler ?? "",
  ({ schedule }) => `schedule ${schedule}`,
  ({ width, height }) => `${said(width)} x ${said(height)}`,
  hiresWords,
  paddingWords,
  ({ window }) => (window === null ? "" : `window ${window}`),
  refinerWords,
  ({ strength }) => `strength ${general(strength)}`,
  (_, { unpacked }) => (unpacked.guide ? `guide ${guideWords(unpacked)}` : ""),
  ...[...(Object.keys(OPTIONS) as (keyof typeof OPTIONS)[]), ...TOLD].map(
    (name) => (settings: Settings) => toldWords(settings, name),
  ),
  (_, { meta }) => meta.task,
  (_, { meta }) => meta.model,
];

/** The differences of each run from the others; its number if there are none. */
export function labelsOf(records: readonly RecordFile[]): string[] {
  const labels = records.map((): string[] => []);
  for (const say of DIFFERENCES) {
    const words = records.map((record) => say(record.settings, record));
    if (new Set(words).size === 1) continue;
    for (const [i, label] of labels.entries()) label.push(words[i] as string);
  }
  return labels.map((label, i) => label.filter((one) => one !== "").join(", ") || `run ${i + 1}`);
}
