// Several finished runs, locked to one step and one word: what the views of Compare share.

import type { AnyModel } from "@anywidget/types";
import type { Binary } from "./frames";
import { reelOf, unfilm } from "./reel";
import { type Picture, type Show, selection } from "./store";
import { type Head, type Hover, head, type Reel, type Selection, type What } from "./view";

export const MOST = 6; // traces; their films are film0 .. film5
const SAVE_INTERVAL = 100; // ms from one message of selections to the kernel to the next, at least

/** The traits of the kernel's Compare beside film0 .. film5. */
export interface Model extends Selection {
  uid: string; // of the widget: its views share one set of traces
  heads: Record<string, unknown>[]; // one for each trace
  labels: string[]; // what tells it from the others
  pictures: Picture[][]; // of each trace, the final decode of each of its batch
}

/** The steps a run was to have. */
const stepsOf = (reel: Reel) => Math.max(reel.head?.steps ?? 0, reel.frames.length, 1);

/** The step of a run of `to` steps that goes with one of a run of `from`: as far through it. */
export function stepAt(step: number, from: number, to: number): number {
  if (step < 0 || from === to) return step;
  return Math.round((step / Math.max(from - 1, 1)) * (to - 1));
}

/** One of the traces, with the selection that all share. */
export class Column implements Show {
  readonly state = "done";
  readonly message = "";
  reel: Reel = reelOf(undefined, []);
  label = "";
  pictures: readonly Picture[] = [];
  readonly #all: Traces;

  constructor(all: Traces) {
    this.#all = all;
  }

  get selection(): Selection {
    const { selection, lead } = this.#all;
    return { ...selection, step: stepAt(selection.step, stepsOf(lead.reel), stepsOf(this.reel)) };
  }
  get hover() {
    return this.#all.hover;
  }
  select(change: Partial<Selection>) {
    this.#all.select(change);
  }
  peek(hover: Hover) {
    this.#all.peek(hover);
  }
  onChange(listener: (what: What) => void) {
    return this.#all.onChange(listener);
  }
}

/** All of them. The selection's step is one of the lead's: the trace with the most steps. */
export class Traces implements Show {
  readonly state = "done";
  readonly message = "";
  columns: Column[] = [];
  selection: Selection;
  hover: Hover = {};
  readonly #model: AnyModel<Model>;
  readonly #listeners = new Set<(what: What) => void>();
  #read: unknown[] = []; // values of the traits that the columns are of
  #whole: unknown; // the run whose whole films were asked for
  #timer: ReturnType<typeof setTimeout> | undefined; // until the next message may go
  #unsaved = false;

  constructor(model: AnyModel<Model>) {
    this.#model = model;
    this.selection = selection((name) => model.get(name));
    this.#readAll();
    model.on("change", this.#changed);
    model.on("msg:custom", this.#receive);
  }

  remove() {
    this.#model.off("change" as "change:heads", this.#changed);
    this.#model.off("msg:custom", this.#receive);
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#unsaved) this.#save();
    clearTimeout(this.#timer);
    this.#listeners.clear();
  }

  /** The trace with the most steps, the first of several. */
  get lead(): Column {
    const [first, ...others] = this.columns;
    const longer = (best: Column, one: Column) =>
      stepsOf(one.reel) > stepsOf(best.reel) ? one : best;
    return others.reduce(longer, first ?? new Column(this));
  }

  get reel(): Reel {
    return this.lead.reel;
  }
  get pictures() {
    return this.lead.pictures;
  }

  select(change: Partial<Selection>) {
    for (const [name, value] of Object.entries(change)) {
      if (value !== undefined) this.#model.set(name as keyof Selection, value);
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

  #tell(what: What) {
    for (const listener of this.#listeners) listener(what);
  }

  readonly #changed = () => {
    if (this.#readAll()) this.#tell("data");
    const next = selection((name) => this.#model.get(name));
    const names = Object.keys(next) as (keyof Selection)[];
    if (names.some((name) => next[name] !== this.selection[name])) {
      this.selection = next;
      this.#tell("selection");
    }
  };

  /** Read all but the selection; returns whether anything is new. */
  #readAll(): boolean {
    const get = (name: string) => this.#model.get(name as keyof Model) as unknown;
    const films = Array.from({ length: MOST }, (_, i) => get(`film${i}`));
    const now = [get("heads"), get("labels"), get("pictures"), ...films];
    if (now.every((value, i) => value === this.#read[i])) return false;
    this.#read = now;
    const list = (value: unknown) => (Array.isArray(value) ? (value as unknown[]) : []);
    const heads = list(now[0]).slice(0, MOST).map(head);
    this.columns = heads.map((each, i) => {
      const column = this.columns[i] ?? new Column(this);
      column.reel = reelOf(each, unfilm(films[i]));
      column.label = String(list(now[1])[i] ?? "");
      column.pictures = list(list(now[2])[i]) as Picture[];
      return column;
    });
    this.#askForWhole(list(now[0])[0]);
    return true;
  }

  /** Where the traits hold smaller films, for saved notebooks, a kernel has the whole ones. */
  #askForWhole(first: unknown) {
    const { run, saved } = (first ?? {}) as { run?: unknown; saved?: unknown };
    if (saved !== true || run === this.#whole) return;
    this.#whole = run;
    try {
      this.#model.send({ kind: "frames" });
    } catch {
      // no kernel: the smaller ones stay
    }
  }

  readonly #receive = (message: unknown, buffers: Binary[] = []) => {
    if (typeof message !== "object" || message === null) return;
    const { kind, run, names } = message as Record<string, unknown>;
    const now: Head | undefined = this.columns[0]?.reel.head;
    if (kind !== "frames" || run !== now?.run || !Array.isArray(names)) return;
    names.forEach((name, i) => {
      const column = this.columns[Number(/^film(\d)$/.exec(String(name))?.[1] ?? -1)];
      const frames = unfilm(buffers[i]);
      if (column && frames.length > 0) column.reel = reelOf(column.reel.head, frames);
    });
    this.#tell("data");
  };

  /** Send the selection to the kernel: at once, but not more often than it can take. */
  #save() {
    if (this.#timer !== undefined) {
      this.#unsaved = true;
      return;
    }
    this.#unsaved = false;
    try {
      // A notebook without a kernel plays all the same: nobody needs to hear of it.
      const saved = this.#model.save_changes() as unknown;
      if (saved instanceof Promise) saved.catch(() => {});
    } catch {
      // as above
    }
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      if (this.#unsaved) this.#save();
    }, SAVE_INTERVAL);
  }
}

const known = new Map<unknown, Traces>();

/** The traces of a model: one set for all its views. */
export function tracesOf(model: AnyModel<Model>): Traces {
  const key = model.get("uid") || model;
  let traces = known.get(key);
  if (traces === undefined) {
    traces = new Traces(model);
    known.set(key, traces);
  }
  return traces;
}

export function forget(model: AnyModel<Model>) {
  const key = model.get("uid") || model;
  known.get(key)?.remove();
  known.delete(key);
}
