// What the views of Compare share: several finished runs, locked to one step and one word.

import type { AnyModel } from "@anywidget/types";
import { changes } from "./changes";
import { readHeader } from "./header";
import { reelOf, unfilm } from "./reel";
import { numbered, oneForEach, Shared } from "./shared";
import type { Picture, Show } from "./show";
import type { Hover, Reel, Selection, What } from "./view";

const FILMS = numbered("film");

/** The traits of the kernel's Compare, besides film0 to film5. */
export interface Model extends Selection {
  uid: string; // of the widget: its views share one set of traces
  headers: Record<string, unknown>[]; // one per trace
  labels: string[]; // how each trace differs from the others
  pictures: Picture[][]; // the final images of each trace's batch
}

/** The number of steps that a run was to have. */
const stepsOf = (reel: Reel) => Math.max(reel.header?.steps ?? 0, reel.frames.length, 1);

/** The step of a run of `to` steps that corresponds to `step` in a run of `from` steps. */
export function stepAt(step: number, from: number, to: number): number {
  if (step < 0 || from === to) return step;
  return Math.round((step / Math.max(from - 1, 1)) * (to - 1));
}

/** One trace, with the selection that all share. */
export class Column implements Show {
  readonly state = "done";
  readonly message = "";
  readonly own = true;
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

/** All traces. The selected step counts in the lead, which is the trace with the most steps. */
export class Traces extends Shared implements Show {
  readonly state = "done";
  readonly message = "";
  readonly own = true;
  columns: Column[] = [];
  readonly #isNew = changes();

  constructor(model: AnyModel) {
    super(model);
    this.follow();
  }

  /** The trace with the most steps; the first of several. */
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

  protected override read(): boolean {
    const films = FILMS.map((name) => this.get(name));
    const now = [this.get("headers"), this.get("labels"), this.get("pictures"), ...films];
    if (!this.#isNew(...now)) return false;
    const list = (value: unknown) => (Array.isArray(value) ? (value as unknown[]) : []);
    const headers = list(now[0]).slice(0, FILMS.length).map(readHeader);
    this.columns = headers.map((each, i) => {
      const column = this.columns[i] ?? new Column(this);
      column.reel = reelOf(each, unfilm(films[i]));
      column.label = String(list(now[1])[i] ?? "");
      column.pictures = list(list(now[2])[i]) as Picture[];
      return column;
    });
    const [first] = headers;
    if (first?.saved) this.ask(first.run);
    return true;
  }

  protected override receive(message: Record<string, unknown>, buffers: readonly unknown[]) {
    const { kind, run, names } = message;
    if (kind !== "frames" || run !== this.columns[0]?.reel.header?.run || !Array.isArray(names))
      return false;
    names.forEach((name, i) => {
      const column = this.columns[FILMS.indexOf(String(name))];
      const frames = unfilm(buffers[i]);
      if (column && frames.length > 0) column.reel = reelOf(column.reel.header, frames);
    });
    return true;
  }
}

export const traces = oneForEach((model: AnyModel<Model>) => new Traces(model));
