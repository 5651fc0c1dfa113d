// The text of notebook cells for a run: the one that makes it again, from what its record or image
// says of it, and the one that shows a record. Whatever a file says, a text of it stays a literal.

import { BUNDLED, CLASSES, DEFAULTS, MOST_CONTROLS, PARENT, SYSTEMS } from "./contract";
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

const GIVEN = ["image", "mask", "depth", "label_map", "neighbours", "latents"] as const;
const [DEFAULT] = Object.values(SYSTEMS); // what is loaded where no name is given
const GRID = ["steps", "schedule"]; // what noise levels given by hand take the place of
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
  const last = plain(made) as Values;
  const { batch_size: count } = settingsIn(last);
  const { run, descent } = descentOf(last);
  const now = settingsIn(run);
  if (run.task === "") throw new NoCell("Its steps were made by a program that it does not name.");
  const bundled = bundledName(run.model);
  const given = givenTo(run);
  const begin = given.map((name) => {
    const value = found.record === undefined ? name : `record.given_${name}`;
    return `${name}=${value}`;
  });
  const guide = guideOf(run, found.record !== undefined);
  if (guide !== undefined) begin.push(guide === "" ? "guide=record.guide" : "guide=guide");
  const follow = controlsOf(run);
  if (follow.length > 0) begin.push("control=control");
  const isThere = found.record !== undefined;
  const images = follow.map((_, i) => {
    if (isThere) return `record.given_controls[${i}].image`;
    return follow.length > 1 ? `control_image_${i + 1}` : "control_image";
  });
  const fromImage = given.includes("image");
  const isFitted = fromImage || follow.length > 0;
  const values = written(now, { isDefault: bundled === DEFAULT, fromImage, isFitted });
  const attention = found.attention ? ["attention=True"] : [];
  const several = isNumber(count) && count > 1;
  const refiner = refinerOf(run, now);
  const from = found.name === undefined ? "its settings" : literal(found.name);
  const lines = [
    ...(found.name === undefined ? [] : [`# Makes the run of ${from} again.`]),
    ...(last.complete === false ? ["# It was stopped before its end; this makes all of it."] : []),
    "import sdwidgets as sdw",
    "",
    ...((given.length + follow.length > 0 || guide === "") && found.record !== undefined
      ? [`record = sdw.Trace.load(${literal(found.record)})`]
      : [...given, ...images].map(
          (name) => `${name} = ...  # give what the run had: it is not in ${from}`,
        )),
    ...(guide ? [guide] : []),
    ...modelOf(run, bundled),
    ...refiner,
    ...following(follow, images),
    ...call("trace = model.generate", [
      ...values,
      ...(refiner.length > 0 ? ["refiner=refiner"] : []),
      ...begin,
      ...attention,
    ]),
    ...descent.flatMap(({ verb, args }) =>
      call(`trace = trace.${verb}`, [...args, ...(follow.length > 0 ? ["control=control"] : [])]),
    ),
    found.attention ? "sdw.Viewer(trace)" : several ? "display(*trace.images)" : "trace.image",
  ];
  return lines.join("\n");
}

/** The settings of a run's record, in today's format. */
function settingsIn(run: Values): Values {
  if (!isObject(run) || !isObject(run.settings)) throw new NoCell("It has no settings.");
  return converted(run.settings, run);
}

/** What a run came from: the first run, and each branch or edit after it as a method's call. */
function descentOf(last: Values): { run: Values; descent: Descent[] } {
  const descent: Descent[] = [];
  let run = last;
  for (;;) {
    const { parent } = run;
    // a second pass is among the settings of its own run
    if (!isObject(parent) || parent.how === "hires") return { run, descent };
    const above = parent.record as Values;
    if (descent.length >= PARENT.depth) throw new NoCell("It came from too many runs.");
    if (parent.how === "branch") {
      descent.unshift({ verb: "branch", args: branched(run, above, parent) });
    } else if (parent.how === "edit") {
      const edit = isObject(parent.edit) ? parent.edit : {};
      const plain = edit.blend === false ? { ...edit, blend: null } : edit;
      descent.unshift({ verb: "edit", args: writtenBy(EDIT, plain) });
    } else {
      throw new NoCell("It came from another run in a way that is not known.");
    }
    run = above;
  }
}

interface Descent {
  verb: "branch" | "edit";
  args: string[];
}

/** The arguments of a branch: where it begins, and what differs from its parent. */
function branched(run: Values, above: Values, { step = 0, seed = null }: Values): string[] {
  const [own, its] = [settingsIn(run), settingsIn(above)];
  const isSame = (name: string) => JSON.stringify(own[name]) === JSON.stringify(its[name]);
  const isImplied = (name: string) => Array.isArray(own.sigmas) && GRID.includes(name);
  const changed = Object.keys(WRITE).filter((name) => !isSame(name) && !isImplied(name));
  const values = Object.fromEntries(changed.map((name) => [name, own[name]]));
  return [...writtenBy(BRANCH, { step, seed }), ...writtenBy(WRITE, { ...values, seed: null })];
}

/** "name=value" of each argument that is there. */
function writtenBy(writes: Readonly<Record<string, Write>>, values: Values): string[] {
  return Object.entries(writes).flatMap(([name, write]) => {
    const value = values[name];
    if (value === undefined || value === null) return [];
    const text = write(value);
    if (text === undefined) throw new NoCell(`Its ${name.replaceAll("_", " ")} cannot be used.`);
    return [`${name}=${text}`];
  });
}

/** The lines that load the model of the last steps. */
function refinerOf(run: Values, { refiner_start: start }: Values): string[] {
  if (!isNumber(start)) return [];
  const sources = (Array.isArray(run.sources) ? run.sources : []).map(plain).filter(isObject);
  const name = sources.find(({ kind }) => kind === "refiner")?.name;
  const path = typeof name === "string" ? literal(name) : "...";
  return ["# Give the path of the refiner.", `refiner = sdw.load(${path})`];
}

/** What the run was given beside its settings. */
function givenTo(run: Values): (typeof GIVEN)[number][] {
  const named = [run.given, run.pictures].flatMap((list) => (Array.isArray(list) ? list : []));
  if (run.task === "image to image" || run.task === "outpainting") named.push("image");
  if (run.task === "inpainting") named.push("image", "mask");
  return GIVEN.filter((name) => named.includes(name) || named.includes(`given_${name}`));
}

/** The line that asks for the guide that steered the run; "" where its record makes it again. */
function guideOf({ guide, given }: Values, isThere: boolean): string | undefined {
  if (!isObject(guide) && !(Array.isArray(given) && given.includes("guide"))) return undefined;
  const { name: kind, function: own } = isObject(guide) ? guide : {};
  if (isThere && typeof kind === "string" && kind !== "function") return "";
  const said = typeof own === "string" ? own : kind;
  const name = typeof said === "string" ? literal(said) : "a guide";
  return `guide = ...  # give what steered the run: ${name}`;
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

/** The name by which `sdw.load` has the bundled model of a record or a request; else undefined. */
function bundledName(model: unknown): string | undefined {
  const known = Object.entries(SYSTEMS).find((names) => (names as unknown[]).includes(model));
  return known?.[1];
}

/** The lines that load the run's model, and say what else it had. */
function modelOf(run: Values, bundled: string | undefined): string[] {
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
  if (bundled !== undefined) {
    const named = bundled === DEFAULT ? [] : [literal(bundled)];
    lines.push(...call("model = sdw.load", [...named, ...loras]));
  } else if (isOnHub && typeof name === "string") {
    const args = [literal(name), `revision=${literal(commit)}`, ...loras];
    lines.push(...call("model = sdw.load", args));
  } else {
    lines.push(`# Give the path of the file or folder of the model ${literal(model)}.`);
    lines.push(...call("model = sdw.load", [literal(model), ...loras]));
  }
  for (const { name, kind, strength } of sources) {
    if (["checkpoint", "lora", "controlnet", "refiner"].includes(kind as string)) continue;
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
  { isDefault, fromImage, isFitted }: Record<"isDefault" | "fromImage" | "isFitted", boolean>,
): string[] {
  const defaults: Values = isDefault ? { ...DEFAULTS, ...BUNDLED.settings } : DEFAULTS;
  const counts = ["prompt", "negative_prompt", "label", "seed"].some((name) =>
    Array.isArray(settings[name]),
  );
  const lines = [];
  for (const [name, write] of Object.entries(WRITE)) {
    const value = settings[name];
    const unused = (name === "strength" && !fromImage) || (name === "fit" && !isFitted);
    if (unused || (name === "batch_size" && counts)) continue;
    if (Array.isArray(settings.sigmas) && GRID.includes(name)) continue;
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
/** A tuple of values, each written in its own way. */
const tuple =
  (...writes: Write[]): Write =>
  (value) => {
    if (!Array.isArray(value) || value.length !== writes.length) return undefined;
    const texts = writes.map((write, i) => write(value[i]));
    return texts.includes(undefined) ? undefined : `(${texts.join(", ")})`;
  };
const pair = tuple(whole(100_000), whole(100_000));
const side = whole(4096);
const levels: Write = (value) => {
  const texts = Array.isArray(value) && value.length <= 1001 ? value.map(real) : [undefined];
  return texts.includes(undefined) ? undefined : `[${texts.join(", ")}]`;
};

const label: Write = (value) => {
  if (value === null) return "None";
  return typeof value === "string" ? literal(value) : whole(CLASSES.number)(value);
};
const box = tuple(text, tuple(real, real, real, real));
const list =
  (write: Write, most: number): Write =>
  (value) => {
    const texts = Array.isArray(value) && value.length <= most ? value.map(write) : [undefined];
    return texts.includes(undefined) ? undefined : `[${texts.join(", ")}]`;
  };
const layout = list(box, CLASSES.boxes);
/** The boxes of all images, or a layout for each. */
const layouts: Write = (value) => layout(value) ?? list(layout, BATCH)(value);

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
  sigmas: levels,
  start_step: whole(1000),
  end_step: whole(1000),
  guidance_scale: real,
  guidance_rescale: real,
  width: side,
  height: side,
  batch_size: whole(BATCH),
  variation: tuple(each(whole(SEED)), real),
  toward: tuple(text, real),
  label: (value) => each(label)(value),
  boxes: (value) => layouts(value),
  strength: real,
  fit: text,
  pad: tuple(side, side, side, side),
  eta: real,
  s_noise: real,
  s_churn: real,
  hires: real,
  hires_strength: real,
  hires_steps: whole(1000),
  hires_method: text,
  window: side,
  refiner_start: real,
  guide_scale: real,
  original_size: pair,
  crop: pair,
  target_size: pair,
  image_guidance_scale: real,
  noise_level: whole(999),
  aesthetic_score: real,
  negative_aesthetic_score: real,
};

const BRANCH: Readonly<Record<string, Write>> = {
  step: whole(PARENT.step),
  seed: each(whole(SEED)),
};

/** How each argument of `Trace.edit` is written. */
const EDIT: Readonly<Record<string, Write>> = {
  word: text,
  replacement: text,
  prompt: text,
  weights(value) {
    const items = Object.entries(value as Values).map(([word, factor]) => [word, real(factor)]);
    if (!isObject(value) || items.some(([, factor]) => factor === undefined)) return undefined;
    return `{${items.map(([word, factor]) => `${literal(word as string)}: ${factor}`).join(", ")}}`;
  },
  cross_attention: real,
  self_attention: real,
  resolution: side,
  blend: (value) => (value === true ? "True" : each(text)(value)),
  threshold: real,
  picture: (value) => whole(BATCH - 1)(value),
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
