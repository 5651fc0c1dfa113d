// All that the views of one model share: the frames gathered so far, and what is selected.

import type { AnyModel } from "@anywidget/types";
import type { Binary } from "./frames";
import { type Frame, nearest, unpack } from "./reel";
import {
  type Head,
  type Hover,
  head,
  type Reel,
  type Selection,
  type View,
  type What,
} from "./view";

const SLOTS = 64;
const SLOT_NAMES = Array.from({ length: SLOTS }, (_, i) => `frame${i}`);
const SAVE_INTERVAL = 100; // ms from one message of selections to the kernel to the next, at least

export type RunState = "idle" | "running" | "done" | "stopped" | "error";
export interface Picture {
  data: Binary;
  type: "image/png" | "image/jpeg";
}

/** The traits of the kernel's Viewer beside frame0 .. frame63. */
export interface Model extends Selection {
  uid: string; // of the widget: its views share one store
  head: Record<string, unknown>; // {} before the first run
  pictures: Picture[]; // the final decode, one for each of the batch; [] until the end
  state: RunState;
  message: string;
  panels: string[];
}

/** What the stage shows beyond steps. */
export interface Show extends View {
  readonly state: RunState;
  readonly message: string;
  readonly pictures: readonly Picture[];
}

type Check<T> = (value: unknown) => T | undefined;
const one =
  <T extends string>(...values: T[]): Check<T> =>
  (value) =>
    values.find((each) => each === value);
const number: Check<number> = (value) =>
  typeof value === "number" && Number.isFinite(value) ? value : undefined;
const text: Check<string> = (value) => (typeof value === "string" ? value : undefined);

const CHECKS: { [K in keyof Selection]: [Selection[K], Check<Selection[K]>] } = {
  step: [-1, number],
  word: ["", text],
  other: ["", text],
  layer: [-1, number],
  span: ["run", one("run", "step")],
  guidance: [null, number],
  picture: [0, number],
  view: ["picture", one("clean", "noisy", "picture", "change")],
  opacity: [0.6, number],
  colormap: ["magma", one("magma", "viridis", "grey")],
  contour: [false, (value) => (typeof value === "boolean" ? value : undefined)],
};
const NAMES = Object.keys(CHECKS) as (keyof Selection)[];

/** What is selected, from the values of traits; what is no such value is as it is by default. */
export function selection(get: (name: keyof Selection) => unknown): Selection {
  const values = NAMES.map((name) => {
    const [otherwise, check] = CHECKS[name] as [unknown, Check<unknown>];
    return [name, check(get(name)) ?? otherwise];
  });
  return Object.fromEntries(values) as Selection;
}

/** The frames of the run on show, from the traits; each is read once. */
class Slots implements Reel {
  head: Head | undefined;
  frames: Frame[] = [];
  version = 0;
  lacking = false; // the traits hold smaller frames than there were, and these are not here
  #whole = false; // they hold smaller ones, and the frames here are as they were
  #raw: unknown; // value of the trait `head` that was read
  readonly #seen: unknown[] = new Array(SLOTS).fill(undefined);
  readonly #slots: (Frame | undefined)[] = new Array(SLOTS).fill(undefined);

  at(step: number) {
    return nearest(this.frames, step);
  }

  /** Read what is new; returns whether anything was. */
  read(get: (name: string) => unknown): boolean {
    let changed = false;
    const raw = get("head");
    if (raw !== this.#raw) {
      this.#raw = raw;
      const next = head(raw);
      // The traits may still hold frames of the run before: what was seen stays seen.
      if (next?.run !== this.head?.run) {
        this.#slots.fill(undefined);
        this.#whole = false;
      }
      this.head = next;
      // Who saw the steps as they came has more than the traits are about to hold.
      if (next?.saved && this.#slots.some(Boolean)) this.#whole = true;
      this.lacking = next?.saved === true && !this.#whole;
      changed = true;
    }
    for (const [i, name] of SLOT_NAMES.entries()) {
      const value = get(name);
      if (value === this.#seen[i]) continue;
      this.#seen[i] = value;
      if (this.#whole) continue;
      this.#slots[i] = unpack(value);
      changed = true;
    }
    if (changed) this.#line();
    return changed;
  }

  /** Take the frames as they were, asked for; returns whether they are of this run. */
  receive(run: unknown, names: unknown, buffers: readonly unknown[]): boolean {
    if (run !== this.head?.run || !Array.isArray(names) || !this.lacking) return false;
    names.forEach((name, i) => {
      const slot = SLOT_NAMES.indexOf(name);
      const frame = unpack(buffers[i]);
      if (slot >= 0 && frame !== undefined) this.#slots[slot] = frame;
    });
    this.#whole = true;
    this.lacking = false;
    this.#line();
    return true;
  }

  #line() {
    this.version++;
    const there = this.#slots.filter((frame) => frame !== undefined);
    there.sort((a, b) => a.index - b.index);
    this.frames = there.filter((frame, i) => frame.index !== there[i - 1]?.index);
  }
}

/** The data and the selection of one model, for all its views. */
export class Store implements Show {
  readonly reel = new Slots();
  selection: Selection;
  hover: Hover = {};
  state: RunState = "idle";
  message = "";
  pictures: readonly Picture[] = [];
  readonly #model: AnyModel<Model>;
  readonly #listeners = new Set<(what: What) => void>();
  #timer: ReturnType<typeof setTimeout> | undefined; // until the next message may go
  #unsaved = false;

  constructor(model: AnyModel<Model>) {
    this.#model = model;
    this.selection = selection((name) => model.get(name));
    this.#read();
    model.on("change", this.#changed);
    model.on("msg:custom", this.#receive);
    this.#ask();
  }

  /** Forget the model; what waits to be saved is saved. */
  remove() {
    this.#model.off("change" as "change:head", this.#changed);
    this.#model.off("msg:custom", this.#receive);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#unsaved) this.#save();
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }

  select(change: Partial<Selection>) {
    for (const name of NAMES) {
      const value = change[name];
      if (value !== undefined) this.#model.set(name, value as never);
    }
    this.#changed(); // hosts tell of it, too, but not all at once
    this.#save();
  }

  peek(hover: Hover) {
    const { word, cell } = this.hover;
    if (hover.word === word && hover.cell?.x === cell?.x && hover.cell?.y === cell?.y) return;
    this.hover = hover;
    this.#tell("hover");
  }

  onChange(listener: (what: What) => void) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  readonly #changed = () => {
    if (this.#read()) this.#tell("data");
    this.#ask();
    const next = selection((name) => this.#model.get(name));
    if (NAMES.some((name) => next[name] !== this.selection[name])) {
      this.selection = next;
      this.#tell("selection");
    }
  };

  #asked = -1; // run whose frames were asked for

  /** Ask for the frames as they were where the traits hold smaller ones; those do meanwhile. */
  #ask() {
    const { lacking, head } = this.reel;
    if (!lacking || head === undefined || head.run === this.#asked) return;
    this.#asked = head.run;
    quietly(() => this.#model.send({ kind: "frames" }));
  }

  readonly #receive = (message: unknown, buffers: readonly unknown[] = []) => {
    const { kind, run, names } = Object(message) as Record<string, unknown>;
    if (kind === "frames" && this.reel.receive(run, names, buffers)) this.#tell("data");
  };

  /** Read all but the selection; returns whether anything is new. */
  #read(): boolean {
    const get = (name: string) => this.#model.get(name as keyof Model) as unknown;
    const state = one("idle", "running", "done", "stopped", "error")(get("state")) ?? "idle";
    const message = text(get("message")) ?? "";
    const value = get("pictures");
    const pictures = Array.isArray(value) ? (value as Picture[]) : [];
    const same =
      state === this.state && message === this.message && samePictures(pictures, this.pictures);
    if (!same) Object.assign(this, { state, message, pictures });
    return this.reel.read(get) || !same;
  }

  #tell(what: What) {
    for (const listener of this.#listeners) listener(what);
  }

  /** Send the selection to the kernel: at once, but not more often than it can take. */
  #save() {
    if (this.#timer !== undefined) {
      this.#unsaved = true;
      return;
    }
    this.#unsaved = false;
    quietly(() => this.#model.save_changes());
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#unsaved) this.#save();
    }, SAVE_INTERVAL);
  }
}

/** A notebook without a kernel plays all the same: that nobody hears is no error. */
function quietly(say: () => unknown) {
  try {
    const said = say();
    if (said instanceof Promise) said.catch(() => {});
  } catch {
    // as said
  }
}

function samePictures(some: readonly Picture[], others: readonly Picture[]) {
  return some.length === others.length && some.every((one, i) => one.data === others[i]?.data);
}

const stores = new Map<unknown, Store>();

/** The store of a model: one for all its views, which may each have a proxy of their own. */
export function storeOf(model: AnyModel<Model>): Store {
  const key = model.get("uid") || model;
  let store = stores.get(key);
  if (store === undefined) {
    store = new Store(model);
    stores.set(key, store);
  }
  return store;
}

export function forget(model: AnyModel<Model>) {
  const key = model.get("uid") || model;
  stores.get(key)?.remove();
  stores.delete(key);
}
