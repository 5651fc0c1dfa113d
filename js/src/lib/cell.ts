// The text of notebook cells for a run: the one that makes it again, from what its record or image
// says of it, and the one that shows a record. Whatever a file says, a text of it stays a literal.

import { BUNDLED, DEFAULTS, MOST_CONTROLS } from "./contract";
import { isNumber, isWhole } from "./numbers";
import { converted, type Values } from "./older";

/** Where the run was found. */
export interface Found {
  name?: string; // of the file, for comments
  record?: string; // the path of an .sdtrace as the notebook's kernel opens it
  attention?: boolean; // whether the words' maps were recorded
}

/** Why there is no cell, in words. */
export class NoCell extends Error {
  override name = "NoCell";
}

const GIVEN = ["image", "mask", "depth", "latents"] as const;
const WIDTH = 88; // characters of a line of code
const SEED = 2 ** 32 - 1;
const BATCH = 64;

/**
 * The Python literal of a text, as `repr` writes it but for the preferred quotes. Only printable
 * characters stand for themselves: none that ends a line, turns the direction of reading, is
 * invisible or is half of a pair.
 */
export function literal(text: string): string {
  const quote = text.includes('"') && !text.includes("'") ? "'" : '"';
  const escaped = text.replace(/[\\"']|(?! )[\p{C}\p{Z}]/gu, (letter) => {
    if (letter === "\\" || letter === quote) return `\\${letter}`;
    if (letter === '"' || letter === "'") return letter;
    const named = { "\n": "\\n", "\r": "\\r", "\t": "\\t" }[letter];
    if (named !== undefined) return named;
    const code = (letter.codePointAt(0) as number).toString(16);
    if (code.length <= 2) return `\\x${code.padStart(2, "0")}`;
    return code.length <= 4 ? `\\u${code.padStart(4, "0")}` : `\\U${code.padStart(8, "0")}`;
  });
  return quote + escaped + quote;
}

/** The path of a file from a notebook's folder; undefined where they are on different drives. */
export function relative(notebook: string, file: string): string | undefined {
  const [from, to] = [onDrive(notebook), onDrive(file)];
  if (from.drive !== to.drive) return undefined;
  const folders = from.parts.slice(0, -1);
  let shared = 0;
  while (shared < Math.min(folders.length, to.parts.length - 1)) {
    if (folders[shared] !== to.parts[shared]) break;
    shared++;
  }
  return [...folders.slice(shared).fill(".."), ...to.parts.slice(shared)].join("/");
}

/** A path of JupyterLab's contents: "drive:folder/file", where RTC is the server's own drive. */
function onDrive(path: string) {
  const [, drive = "", local = ""] = /^(?:([^/:]+):)?(.*)$/su.exec(path) ?? [];
  return { drive: drive === "RTC" ? "" : drive, parts: local.split("/").filter(Boolean) };
}

/** The cell that loads a record and shows it. */
export function viewing(record: string): string {
  return `import sdwidgets as sdw\n\ntrace = sdw.Trace.load(${literal(record)})\nsdw.Viewer(trace)`;
}

/**
 * The cell that makes a run again. `made` is what `Trace.record` returns, as in a PNG, or the JSON
 * of an .sdtrace; it is not trusted. Raises `NoCell`.
 */
export function making(made: unknown, found: Found = {}): string {
  const run = plain(made) as Values;
  const settings = plain(run?.settings) as Values;
  if (!isObject(run) || !isObject(settings)) throw new NoCell("It has no settings.");
  if (run.task === "") throw new NoCell("Its steps were made by a program that it does not name.");
  const now = converted(settings, run);
  const isBundled = (BUNDLED.names as readonly unknown[]).includes(run.model);
  const given = givenTo(run);
  const begin = given.map((name) => {
    const value = found.record === undefined ? name : `record.given_${name}`;
    return `${name}=${value}`;
  });
  const follow = controlsOf(run);
  if (follow.length > 0) begin.push("control=control");
  const isThere = found.record !== undefined;
  const images = follow.map((_, i) => {
    if (isThere) return `record.given_controls[${i}].image`;
    return follow.length > 1 ? `control_image_${i + 1}` : "control_image";
  });
  const fromImage = given.includes("image");
  const isFitted = fromImage || follow.length > 0;
  const values = written(now, { isBundled, fromImage, isFitted });
  const attention = found.attention ? ["attention=True"] : [];
  const several = isNumber(now.batch_size) && now.batch_size > 1;
  const from = found.name === undefined ? "its settings" : literal(found.name);
  const lines = [
    ...(found.name === undefined ? [] : [`# Makes the run of ${from} again.`]),
    ...(run.complete === false ? ["# It was stopped before its end; this makes all of it."] : []),
    "import sdwidgets as sdw",
    "",
    ...(given.length + follow.length > 0 && found.record !== undefined
      ? [`record = sdw.Trace.load(${literal(found.record)})`]
      : [...given, ...images].map(
          (name) => `${name} = ...  # give what the run had: it is not in ${from}`,
        )),
    ...modelOf(run, isBundled),
    ...following(follow, images),
    ...call("trace = model.generate", [...values, ...begin, ...attention]),
    found.attention ? "sdw.Viewer(trace)" : several ? "display(*trace.images)" : "trace.image",
  ];
  return lines.join("\n");
}

/** What the run was given beside its settings. */
function givenTo(run: Values): (typeof GIVEN)[number][] {
  const named = [run.given, run.pictures].flatMap((list) => (Array.isArray(list) ? list : []));
  if (run.task === "image to image") named.push("image");
  if (run.task === "inpainting") named.push("image", "mask");
  return GIVEN.filter((name) => named.includes(name) || named.includes(`given_${name}`));
}

/** The controls that the run followed. */
function controlsOf(run: Values): Values[] {
  const all = Array.isArray(run.controls) ? run.controls.map(plain).filter(isObject) : [];
  return all.filter(({ name }) => typeof name === "string").slice(0, MOST_CONTROLS);
}

/** The lines that give the run its controls again, whose images are in variables. */
function following(controls: readonly Values[], images: readonly string[]): string[] {
  const made = controls.map((control, i) => {
    const values = Object.entries({ strength: 1, start: 0, end: 1 }).flatMap(([name, usual]) => {
      const value = control[name];
      return isNumber(value) && value !== usual ? [`${name}=${number(value)}`] : [];
    });
    const named = literal(control.name as string);
    return `sdw.Control(${[named, images[i], ...values].join(", ")})`;
  });
  if (made.length === 0) return [];
  const files = made.length > 1 ? "paths of the ControlNets" : "path of the ControlNet";
  const value = made.length > 1 ? ["control = [", ...made.map((one) => `    ${one},`), "]"] : [];
  return [`# Give the ${files}.`, ...(made.length > 1 ? value : [`control = ${made[0]}`])];
}

/** The lines that load the run's model, and say what else it had. */
function modelOf(run: Values, isBundled: boolean): string[] {
  const { model, fingerprint } = run;
  if (typeof model !== "string" || model === "") throw new NoCell("It does not name its model.");
  const sources = (Array.isArray(run.sources) ? run.sources : []).map(plain).filter(isObject);
  const [first] = sources;
  const lines: string[] = [];
  const { name = "", commit = "" } = first ?? {};
  const isOnHub = typeof commit === "string" && /^[0-9a-f]{40}$/.test(commit);
  const adapters = sources.flatMap(adapter);
  const loras = adapters.length > 0 ? [`loras=[${adapters.join(", ")}]`] : [];
  if (loras.length > 0) lines.push("# Give the paths of the files of its LoRAs.");
  if (isBundled) {
    lines.push(...call("model = sdw.load", loras));
  } else if (isOnHub && typeof name === "string") {
    const args = [literal(name), `revision=${literal(commit)}`, ...loras];
    lines.push(...call("model = sdw.load", args));
  } else {
    lines.push(`# Give the path of the file or folder of the model ${literal(model)}.`);
    lines.push(...call("model = sdw.load", [literal(model), ...loras]));
  }
  for (const { name, kind, strength } of sources) {
    if (kind === "checkpoint" || kind === "lora" || kind === "controlnet") continue;
    if (typeof name !== "string" || typeof kind !== "string") continue;
    const how = typeof strength === "number" ? `, strength ${number(strength)}` : "";
    lines.push(`# The run's model also had ${literal(name)} (${literal(kind)}${how}).`);
  }
  const isKnown = typeof fingerprint === "string" && /^[0-9a-f]{64}$/.test(fingerprint);
  if (isKnown && fingerprint !== BUNDLED.fingerprint) {
    lines.push(`if model.fingerprint != ${literal(fingerprint)}:`);
    lines.push(`    print("These are other weights than the run's: the image will differ.")`);
  }
  return lines;
}

/** A LoRA as `sdw.load` takes it: a path, or a path and its strengths. */
function adapter({ name, kind, strength, text_strength: text }: Values): string[] {
  if (kind !== "lora" || typeof name !== "string") return [];
  const numbers = [strength, text].filter((value) => Number.isFinite(value)) as number[];
  if (text === undefined && strength === 1) numbers.pop();
  if (numbers.length === 0) return [literal(name)];
  return [`(${[literal(name), ...numbers.map(number)].join(", ")})`];
}

/** The arguments that differ from their defaults: the prompt, then "name=value". */
function written(
  settings: Values,
  { isBundled, fromImage, isFitted }: Record<"isBundled" | "fromImage" | "isFitted", boolean>,
): string[] {
  const defaults: Values = isBundled ? { ...DEFAULTS, ...BUNDLED.settings } : DEFAULTS;
  const counts = ["prompt", "negative_prompt", "seed"].some((name) =>
    Array.isArray(settings[name]),
  );
  const lines = [];
  for (const [name, write] of Object.entries(WRITE)) {
    const value = settings[name];
    const unused = (name === "strength" && !fromImage) || (name === "fit" && !isFitted);
    if (unused || (name === "batch_size" && counts)) continue;
    if (value === undefined || value === null || value === defaults[name]) continue;
    const text = write(value);
    if (text === undefined) throw new NoCell(`Its ${name.replaceAll("_", " ")} cannot be used.`);
    lines.push(name === "prompt" ? text : `${name}=${text}`);
  }
  if (settings.seed === undefined || settings.seed === null) throw new NoCell("It has no seed.");
  return lines;
}

type Write = (value: unknown) => string | undefined;

const text: Write = (value) => (typeof value === "string" ? literal(value) : undefined);
const real: Write = (value) => (Number.isFinite(value) ? number(value as number) : undefined);
const whole =
  (most: number): Write =>
  (value) =>
    isWhole(value, most, 0) ? number(value) : undefined;

/** A value, or a list with a value for each image. */
const each =
  (write: Write): Write =>
  (value) => {
    if (!Array.isArray(value)) return write(value);
    const texts = value.map(write);
    const isList = texts.length > 0 && texts.length <= BATCH && !texts.includes(undefined);
    return isList ? `[${texts.join(", ")}]` : undefined;
  };
const pair: Write = (value) => {
  const texts =
    Array.isArray(value) && value.length === 2 ? value.map(whole(100_000)) : [undefined];
  return texts.includes(undefined) ? undefined : `(${texts.join(", ")})`;
};

/** How each argument of `LatentDiffusion.sample` is written, in the order of the cell. */
const WRITE: Readonly<Record<string, Write>> = {
  prompt: each(text),
  negative_prompt: each(text),
  weights: text,
  clip_skip: whole(100),
  chunks: whole(100),
  seed: each(whole(SEED)),
  steps: whole(1000),
  sampler: text,
  schedule: text,
  guidance_scale: real,
  guidance_rescale: real,
  width: whole(4096),
  height: whole(4096),
  batch_size: whole(BATCH),
  strength: real,
  fit: text,
  eta: real,
  original_size: pair,
  crop: pair,
  target_size: pair,
  image_guidance_scale: real,
  noise_level: whole(999),
  aesthetic_score: real,
  negative_aesthetic_score: real,
};

/** A finite number as Python reads it; both languages write the shortest digits that return it. */
const number = (value: number) => (Object.is(value, -0) ? "-0.0" : String(value));

/** A call on one line, or with an argument a line. */
function call(start: string, args: readonly string[]): string[] {
  const line = `${start}(${args.join(", ")})`;
  return line.length <= WIDTH ? [line] : [`${start}(`, ...args.map((arg) => `    ${arg},`), ")"];
}

const isObject = (value: unknown): value is Values =>
  typeof value === "object" && value !== null && !Array.isArray(value);

/** The value with objects in place of maps, and numbers in place of big ones that they can hold. */
function plain(value: unknown): unknown {
  if (value instanceof Map) return Object.fromEntries([...value].map(([k, v]) => [k, plain(v)]));
  if (Array.isArray(value)) return value.map(plain);
  return typeof value === "bigint" && Number.isSafeInteger(Number(value)) ? Number(value) : value;
}
