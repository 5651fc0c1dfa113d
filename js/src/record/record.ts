// A record's file, opened: a model for the viewer whose steps are read as they are looked at, and a
// check of the whole file meanwhile.

import type { AnyModel } from "@anywidget/types";
import { NUMBERED, PANELS } from "../lib/contract";
import { hostModel, type State } from "../lib/host";
import { numbered } from "../lib/shared";
import type { Source } from "../lib/source";
import type { Header } from "../lib/view";
import { floats, longestSides, needed, pack, type Read, sideWithin } from "./frames";
import { addedOf, crossOf } from "./header";
import { imageInfo } from "./images";
import type { Tensor } from "./layout";
import { type Believed, Opening, shownFirst, sizeOf } from "./opening";
import { dumps } from "./python";
import { Fault, refusal } from "./refused";
import { messageOf, picturesOf, recordOf, stateOf } from "./said";
import { isInfinite } from "./scan";
import { type Settings, seedsOf } from "./settings";
import { readRanges } from "./source";
import type { ModelSource } from "./sources";
import { evenly, strided, strideFor } from "./thinning";
import type { StepInfo, Unpacked } from "./unpacked";

const STEP = 32 * 2 ** 20; // bytes of a step that are read at once
const SLOTS = NUMBERED.frame;
const FRAMES = numbered("frame");
const BUSY = 8; // ms of work between two pauses

export interface OpenOptions {
  /** The file's name, for messages. */
  name?: string;
  /** Ends everything that goes on. */
  signal?: AbortSignal;
  /** Told while the whole file is checked: bytes read so far. */
  progress?: (read: number, size: number) => void;
}

/** What a record says about its run, besides its settings. */
export interface Meta {
  readonly model: string;
  readonly task: string;
  readonly seeds: readonly number[] | null; // of each image; null if not known
  readonly expected: number; // steps of the whole run
  readonly steps: readonly number[]; // indices of those that the file has
  readonly complete: boolean;
  readonly seconds: number | null;
  readonly notices: readonly string[];
  readonly versions: Readonly<Record<string, string>>;
  readonly fingerprint: string;
  readonly prediction: string;
  readonly predictionSource: string;
  readonly sources: readonly ModelSource[];
  /** What the run was given beside settings, in this order: "image", "mask", "depth", "latents",
   * "control". */
  readonly given: readonly string[];
}

/** A step that the page keeps, in a slot of its own. */
interface Slot {
  readonly step: StepInfo;
  readonly longest: number;
  frame: Uint8Array | undefined;
  wrong: boolean; // its numbers are; checking the file says so
}

/** An opened record. Its `model` is what `viewer.ts` renders. */
export class RecordFile {
  readonly name: string;
  /** The traits of a viewer. Steps arrive one after another, those near the selected one first. */
  readonly model: AnyModel;
  readonly settings: Settings;
  readonly meta: Meta;
  /** Settles once the whole file was read: rejects with `RefusedRecord` if it is not as it was
   * written, and the model then says so. */
  readonly checked: Promise<void>;
  /** The images' PNG files, with the settings inside. */
  readonly images: Promise<readonly Uint8Array[]>;
  readonly #opening: Opening;
  readonly #tensors: ReadonlyMap<string, Tensor>;
  readonly #record: Unpacked;
  readonly #control: AbortController;
  readonly #slots: readonly Slot[];
  readonly #uid = `record-${++opened}`;
  readonly #loaded: Promise<void>;
  #wake: () => void = () => {}; // goes on with the steps at once
  #firstDone: () => void = () => {}; // told of each step
  #refused: unknown;

  private constructor(
    opening: Opening,
    { tensors, record }: Believed,
    header: Header,
    control: AbortController,
    { name, progress }: { name: string; progress: ((read: number) => void) | undefined },
  ) {
    this.#opening = opening;
    this.#tensors = tensors;
    this.#record = record;
    this.#control = control;
    this.name = name;
    this.settings = record.settings;
    this.meta = metaFor(record);
    const kept = strided(record.steps, strideFor(record.steps.length, SLOTS));
    const sides = longestSides(kept, record);
    this.#slots = kept.map((step, i) => ({
      step,
      longest: sides[i] as number,
      frame: undefined,
      wrong: false,
    }));
    const state: State = {
      uid: this.#uid,
      header,
      pictures: [],
      state: stateOf(record),
      message: messageOf(record),
      panels: panelsOf(record),
      coming: kept.map(({ index }) => index),
    };
    this.model = hostModel(state);
    this.model.on("change:step", () => this.#wake());
    this.images = this.#readImages();
    this.#loaded = this.#loadAll();
    this.checked = this.#check(progress);
    for (const promise of [this.images, this.#loaded, this.checked]) promise.catch(() => {});
  }

  /** See `openRecord`. */
  static async open(source: Source, options: OpenOptions = {}): Promise<RecordFile> {
    const { name = "This file", progress, signal } = options;
    const control = new AbortController();
    const end = () => control.abort(signal?.reason);
    if (signal?.aborted) end();
    signal?.addEventListener("abort", end, { once: true });
    try {
      const opening = await Opening.of(source, control.signal);
      const tell = progress && ((read: number) => progress(read, source.size));
      const { believed, header } = await shownFirst(opening, control.signal).catch(
        async (error: unknown) => {
          // A file that is wrong may have been right: its digest tells.
          if (error instanceof Fault) await opening.verify(idle, control.signal, tell);
          throw error;
        },
      );
      const file = new RecordFile(opening, believed, header, control, { name, progress: tell });
      await file.#first();
      return file;
    } catch (error) {
      control.abort(error);
      throw refusal(name, error);
    }
  }

  /** All frames, in the order of the steps; waits until they are read. */
  async frames(): Promise<readonly Uint8Array[]> {
    await this.#loaded;
    return this.#slots.flatMap(({ frame }) => frame ?? []);
  }

  /** The frames that are there by now. */
  get framesSoFar(): readonly Uint8Array[] {
    return this.#slots.flatMap(({ frame }) => frame ?? []);
  }

  /** The run as `Trace.record` returns it, as in an image's PNG: plain data. Without an image, the
   * settings are those of the whole batch. */
  recordOf(image?: number): Record<string, unknown> {
    const made = JSON.parse(dumps(recordOf(this.#record, image ?? 0)));
    return image === undefined ? { ...made, settings: this.settings } : made;
  }

  /** Frames of at most `count` steps, spread evenly, of at most `most` bytes together. */
  async framesWithin(most: number, count: number): Promise<readonly Uint8Array[]> {
    await this.#loaded;
    const steps = evenly(this.#record.steps, count);
    const longest = sideWithin(steps, this.#record, most);
    const frames: Uint8Array[] = [];
    for (const step of steps) {
      const slot = this.#slots.find((one) => one.step === step && one.longest === longest);
      const frame = slot?.frame ?? (await this.#load({ step, longest }));
      if (frame !== undefined) frames.push(frame);
    }
    return frames;
  }

  get header(): Header {
    return this.model.get("header") as Header;
  }

  /** The record, for other parts of this folder. */
  get unpacked(): Unpacked {
    return this.#record;
  }

  /** Ends reading and checking; what was read stays. */
  close() {
    this.#control.abort();
    this.#wake();
  }

  // ------------------------------------------------------------------------------- steps

  /** The slot to read next: the one nearest to the selected step that is not there yet. */
  #next(): number {
    const selected = Number(this.model.get("step") ?? -1);
    const at = selected < 0 ? Number.POSITIVE_INFINITY : selected;
    let best = -1;
    let least = Number.POSITIVE_INFINITY;
    this.#slots.forEach(({ step, frame, wrong }, i) => {
      const off = at === Number.POSITIVE_INFINITY ? -step.index : Math.abs(step.index - at);
      if (frame === undefined && !wrong && off < least) [best, least] = [i, off];
    });
    return best;
  }

  /** Whether the selected step is not there yet. */
  get #waited(): boolean {
    const selected = Number(this.model.get("step") ?? -1);
    const nearest =
      selected < 0
        ? this.#slots.at(-1)
        : this.#slots.reduce<Slot | undefined>((best, one) => {
            const off = Math.abs(one.step.index - selected);
            return best && Math.abs(best.step.index - selected) <= off ? best : one;
          }, undefined);
    return nearest !== undefined && nearest.frame === undefined && !nearest.wrong;
  }

  /** Waits for the first step. */
  async #first() {
    const first = new Promise<void>((resolve) => {
      this.#firstDone = resolve;
    });
    if (this.#slots.length > 0 && !this.#slots.some(({ frame }) => frame)) {
      await Promise.race([first, this.#loaded]);
    }
  }

  async #loadAll() {
    const { signal } = this.#control;
    await Promise.resolve(); // the model's owner listens first
    for (let i = this.#next(); i >= 0; i = this.#next()) {
      signal.throwIfAborted();
      const slot = this.#slots[i] as Slot;
      slot.frame = await this.#load(slot);
      slot.wrong = slot.frame === undefined;
      if (this.#refused !== undefined) throw this.#refused;
      if (slot.frame) this.model.set(FRAMES[i] as string, slot.frame as never);
      this.#firstDone();
      if (!this.#waited) await Promise.race([idle(), this.#woken()]);
    }
  }

  #woken(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** A slot's frame; undefined if its numbers are wrong. */
  async #load({ step, longest }: Pick<Slot, "step" | "longest">): Promise<Uint8Array | undefined> {
    const record = this.#record;
    let last = performance.now();
    const pause = async () => {
      if (performance.now() - last < BUSY) return;
      await soon();
      last = performance.now();
    };
    try {
      const names = needed(step, record).flat();
      const size = names.reduce((sum, name) => sum + sizeOf(this.#tensor(name)), 0);
      const all = size <= STEP ? await this.#read(names) : undefined;
      const load = async (some: readonly string[]) => all ?? this.#read(some);
      return await pack(step, record, { load, pause, longest });
    } catch (error) {
      if (error instanceof Fault) return undefined;
      throw error;
    }
  }

  /** Reads tensors, and checks their numbers. */
  async #read(names: readonly string[]): Promise<Read> {
    const tensors = names.map((name) => this.#tensor(name));
    const data = await readRanges(this.#opening.source, tensors, this.#control.signal);
    const found = new Map(names.map((name, i) => [name, data[i] as Uint8Array]));
    for (const [name, bytes] of found) {
      const { type } = this.#tensor(name);
      const wrong =
        (type === "F16" && isInfinite(bytes)) ||
        (type === "F32" && floats(bytes).some((one) => !(one >= 0 && one <= 65_504)));
      if (wrong) throw new Fault(`${name} has impossible numbers`);
    }
    return (name) => found.get(name) as Uint8Array;
  }

  #tensor(name: string): Tensor {
    return this.#tensors.get(name) as Tensor;
  }

  // ------------------------------------------------------------------------------- images, check

  async #readImages(): Promise<readonly Uint8Array[]> {
    const names = this.#record.images;
    const data = await readRanges(
      this.#opening.source,
      names.map((name) => this.#tensor(name)),
      this.#control.signal,
    );
    for (const one of data) imageInfo(one); // nothing else reaches the browser's decoder
    const pictures = picturesOf(this.#record, data);
    if (this.#refused === undefined) this.model.set("pictures", pictures as never);
    return pictures.map((one) => one.data as Uint8Array);
  }

  async #check(progress: ((read: number) => void) | undefined) {
    const pause = async () => {
      do await idle();
      while (this.#waited && !this.#control.signal.aborted);
    };
    try {
      await this.#opening.verify(pause, this.#control.signal, progress);
    } catch (error) {
      const refused = refusal(this.name, error);
      if (!this.#control.signal.aborted) this.#refuse(refused);
      throw refused;
    }
  }

  /** Takes back all that was shown. */
  #refuse(why: unknown) {
    this.#refused = why;
    this.#control.abort(why);
    for (const slot of this.#slots) slot.frame = undefined;
    const none = new Uint8Array();
    for (const name of FRAMES) if (this.model.get(name)) this.model.set(name, none as never);
    this.model.set("pictures", [] as never);
    this.model.set("message", String((why as Error).message) as never);
    this.model.set("state", "error" as never);
  }
}

let opened = 0;

function metaFor(record: Unpacked): Meta {
  const { settings, steps, versions } = record;
  const given = {
    image: record.givenImage,
    mask: record.givenMask,
    depth: record.givenDepth,
    label_map: record.givenLabelMap,
    neighbours: record.neighbours > 0,
    latents: record.givenLatents,
    control: record.controls.length > 0,
    guide: record.guide !== undefined,
  };
  return {
    model: record.model,
    task: record.task,
    seeds: seedsOf(settings),
    expected: record.expected || steps.length,
    steps: steps.map(({ index }) => index),
    complete: record.complete,
    seconds: record.runSeconds,
    notices: record.notices,
    versions: Object.fromEntries(versions),
    fingerprint: record.fingerprint,
    prediction: record.prediction,
    predictionSource: record.predictionSource,
    sources: record.sources,
    given: Object.entries(given).flatMap(([name, is]) => (is ? [name] : [])),
  };
}

/** The panels that have something to show. */
function panelsOf(record: Unpacked): string[] {
  const empty: Record<string, boolean> = {
    attention: crossOf(record).size === 0,
    tokens: record.tokens.every(({ pieces }) => pieces.length === 0),
    control: addedOf(record).size === 0,
  };
  return PANELS.filter((name) => !empty[name]);
}

/** Lets the page do what waits. */
const soon = () => new Promise<void>((resolve) => setTimeout(resolve));

/** Waits until the page is idle. */
const idle = () =>
  new Promise<void>((resolve) => {
    if (typeof requestIdleCallback === "function")
      requestIdleCallback(() => resolve(), { timeout: 100 });
    else setTimeout(resolve);
  });
