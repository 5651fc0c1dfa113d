// The settings of a run in words, as trace/about.py writes them, out of what a PNG or a record says
// of it. That is not trusted: only texts and numbers are shown, each as text.

import { shortened } from "../../../src/record/python";
import type { Texts } from "../texts";

type Values = Record<string, unknown>;

const LONGEST = 20_000; // characters of a text
const MOST = 100; // parts of a list

/** The value with objects in place of maps, and numbers in place of big ones. */
export function plain(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]));
  if (Array.isArray(value)) return value.map(plain);
  return typeof value === "bigint" ? Number(value) : value;
}

export const object = (value: unknown): Values =>
  typeof value === "object" && value !== null && !Array.isArray(value) ? (value as Values) : {};

/** A text or a number in words; "" for anything else. */
function word(value: unknown): string {
  if (typeof value === "string") return shortened(value, LONGEST);
  return typeof value === "number" ? String(Number(value.toPrecision(6))) : "";
}

/** The parts of a list, a line each; a single line where all are the same. */
function lines(value: unknown): string {
  const parts = (Array.isArray(value) ? value.slice(0, MOST) : [value]).map(word);
  return (new Set(parts).size > 1 ? parts : parts.slice(0, 1)).join("\n").trim();
}

function seeds(value: unknown, batch: unknown): string {
  if (Array.isArray(value)) return value.slice(0, MOST).map(word).join(", ");
  if (typeof value !== "number") return "";
  const count = typeof batch === "number" && batch > 1 && batch <= MOST ? batch : 1;
  return count > 1 ? `${value} to ${value + count - 1}` : String(value);
}

function source(value: unknown): string {
  const { name, kind, strength, commit, sha256 } = object(value);
  const parts = [
    word(name),
    kind === "checkpoint" ? "" : word(kind),
    typeof strength === "number" ? `strength ${word(strength)}` : "",
    commit ? `commit ${word(commit)}` : "",
    sha256 ? `SHA-256 ${word(sha256)}` : "",
  ];
  return parts.filter(Boolean).join(", ");
}

/** The rows: a name and a text. `steps`: how many there are and how long they took. */
export function aboutRows(given: unknown, trans: Texts, steps = ""): [string, string][] {
  const made = object(plain(given));
  const settings = object(made.settings);
  const { width, height, guidance_scale, guidance_rescale, strength, fit, eta } = settings;
  const rescaled = Number(guidance_rescale) > 0 ? word(guidance_rescale) : "";
  const guidance = word(guidance_scale);
  const own = made.task !== ""; // else the steps of someone's own loop
  const fromImage = made.task === "image to image" || made.task === "inpainting";
  const task = [
    word(made.task),
    fromImage && word(strength) ? `strength ${word(strength)}` : "",
    fromImage && word(fit) ? `fit ${word(fit)}` : "",
    Number(eta) > 0 ? `eta ${word(eta)}` : "",
  ];
  const list = (value: unknown) => (Array.isArray(value) ? value.slice(0, MOST) : []);
  const { __ } = trans;
  const rows: [string, string][] = [
    [__("prompt"), lines(settings.prompt) || __("none")],
    [__("negative prompt"), lines(settings.negative_prompt) || __("none")],
    [__("seed"), seeds(settings.seed, settings.batch_size)],
    [__("steps"), steps || word(settings.steps)],
    [__("sampler"), own ? word(settings.sampler) : ""],
    [__("schedule"), own ? word(settings.schedule) : ""],
    [
      __("guidance"),
      guidance && rescaled ? __("%1, rescaled by %2", guidance, rescaled) : guidance,
    ],
    [__("size"), width && height ? __("%1 × %2 pixels", word(width), word(height)) : ""],
    [__("task"), task.filter(Boolean).join(", ")],
    [__("model"), word(made.model)],
    [__("prediction"), word(made.prediction)],
    [__("fingerprint"), word(made.fingerprint)],
    [__("sources"), list(made.sources).map(source).join("\n")],
    [__("also given"), list(made.given).map(word).filter(Boolean).join(", ")],
    [__("cut from the prompt"), word(made.cut)],
    [__("notices"), list(made.notices).map(word).join("\n")],
    [
      __("made with"),
      Object.entries(object(made.versions))
        .slice(0, MOST)
        .map(([name, version]) => `${name} ${word(version)}`)
        .join(", "),
    ],
  ];
  return rows.filter(([, text]) => text.trim() !== "");
}
