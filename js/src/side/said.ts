// What the kernel said, checked: nothing that it sends is trusted to be of the right type.

import { JOB_STATES, MODEL_PLACES, MODEL_STATES, SIDE_LIMITS } from "../lib/contract";

/** Where the followed kernel stands, from the page's point of view. */
export const LINKS = [
  "nothing", // no notebook or console was active
  "none", // it has no kernel
  "starting",
  "connecting",
  "restarting",
  "disconnected",
  "dead",
  "foreign", // not Python
  "asking", // whether sdwidgets' manager is in it
  "absent",
  "linked",
] as const;
export type Link = (typeof LINKS)[number];

/** What becomes of the wish to use sdwidgets in a kernel without. */
export type Begun = "" | "asked" | "missing" | "failed";

export interface Job {
  id: number;
  model: string;
  prompt: string | null;
  state: (typeof JOB_STATES)[number];
  message: string;
  step: number;
  steps: number;
  eta: number | null; // seconds
}

export interface Listed {
  name: string; // what load and unload take
  title: string;
  place: (typeof MODEL_PLACES)[number];
  what: string;
  bytes: number | null;
  state: (typeof MODEL_STATES)[number];
  why: string;
}

export interface Memory {
  name: string;
  total: number;
  free: number;
  process: number | null;
}

export interface Image {
  id: number;
  prompt: string;
  model: string;
  seed: number | null;
  width: number;
  height: number;
  settings: unknown;
  thumbnail: unknown; // JPEG
}

type Fields = Record<string, unknown>;

const fields = (value: unknown) => Object(value) as Fields;
const list = (value: unknown, most: number): Fields[] =>
  Array.isArray(value) ? value.slice(0, most).map(fields) : [];
const text = (value: unknown) =>
  typeof value === "string" ? value.slice(0, SIDE_LIMITS.text) : "";
const whole = (value: unknown) => (Number.isSafeInteger(value) ? (value as number) : undefined);
const amount = (value: unknown) =>
  typeof value === "number" && Number.isFinite(value) && value >= 0 ? value : null;
const among = <T extends string>(choices: readonly T[], value: unknown): T | undefined =>
  choices.find((choice) => choice === value);

/** Those that have an id and a state. */
export function jobsOf(value: unknown): Job[] {
  return list(value, SIDE_LIMITS.jobs).flatMap((job) => {
    const [id, state] = [whole(job.id), among(JOB_STATES, job.state)];
    if (id === undefined || state === undefined) return [];
    const steps = amount(job.steps) ?? 0;
    return {
      ...{ id, state, steps, step: Math.min(amount(job.step) ?? 0, steps) },
      ...{ model: text(job.model), message: text(job.message), eta: amount(job.eta) },
      prompt: typeof job.prompt === "string" ? text(job.prompt) : null,
    };
  });
}

/** Those that have a name and a state, each name once. */
export function modelsOf(value: unknown): Listed[] {
  const found = new Map<string, Listed>();
  for (const one of list(value, SIDE_LIMITS.models)) {
    const state = among(MODEL_STATES, one.state);
    if (typeof one.name !== "string" || state === undefined) continue;
    found.set(one.name, {
      ...{ name: one.name, state, title: text(one.title) || one.name, what: text(one.what) },
      place: among(MODEL_PLACES, one.place) ?? "memory",
      ...{ bytes: amount(one.bytes), why: text(one.why) },
    });
  }
  return [...found.values()];
}

/** Undefined where the amounts are not known. */
export function memoryOf(value: unknown): Memory | undefined {
  const { name, total, free, process } = fields(value);
  const [all, left] = [amount(total), amount(free)];
  if (all === null || left === null || all === 0) return undefined;
  return { name: text(name), total: all, free: Math.min(left, all), process: amount(process) };
}

/** Those that have an id, the newest last. */
export function imagesOf(value: unknown): Image[] {
  return list(value, SIDE_LIMITS.images).flatMap((image) => {
    const id = whole(image.id);
    if (id === undefined) return [];
    return {
      ...{ id, prompt: text(image.prompt), model: text(image.model) },
      seed: whole(image.seed) ?? null,
      ...{ width: amount(image.width) ?? 0, height: amount(image.height) ?? 0 },
      ...{ settings: image.settings, thumbnail: image.thumbnail },
    };
  });
}

const WORKING: readonly Job["state"][] = ["loading", "running"];

/** The job that runs or loads, if there is one. */
export const running = (jobs: readonly Job[]) => jobs.find(({ state }) => WORKING.includes(state));

/** Those that wait, the next first. */
export const waiting = (jobs: readonly Job[]) => jobs.filter(({ state }) => state === "queued");
