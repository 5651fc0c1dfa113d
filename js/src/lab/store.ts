// What all views of a lab share: the kernel's results, the selection, and where the pointer is.

import type { AnyModel } from "@anywidget/types";
import { Choices, quietly } from "../lib/choices";
import { LAB_SELECTION, MOST_AUTOENCODERS as MOST } from "../lib/contract";
import { opener } from "../lib/files";
import { LOST } from "../lib/kernel";
import { valid } from "../lib/selection";
import { oneForEach } from "../lib/shared";
import { NAMES, read } from "./traits";
import type { Data, Here, LabView, Selection, What } from "./view";

const REST = 60; // ms that the pointer rests before the kernel is asked
const ANSWERED_WITHIN = 4000; // ms
const NO_KERNEL = "No kernel answers: it is busy, or this is a saved view.";

/** The selection in the traits; a default stands in place of a wrong value. */
function selectionOf(get: (name: keyof Selection) => unknown): Selection {
  const [chosen, active] = [get("chosen"), get("active")];
  const names = Array.isArray(chosen) ? chosen.filter((name) => typeof name === "string") : [];
  return {
    chosen: names.slice(0, MOST),
    active: typeof active === "string" ? active : "",
    panel: valid(LAB_SELECTION.panel, get("panel")),
    side: valid(LAB_SELECTION.side, get("side")),
    view: valid(LAB_SELECTION.view, get("view")),
  };
}

/** The selection after a change. The active autoencoder is always among the chosen. */
function changed(before: Selection, change: Partial<Selection>): Selection {
  const next = { ...before, ...change };
  if (next.chosen.includes(next.active)) return next;
  if (change.active === undefined) return { ...next, active: next.chosen[0] ?? "" };
  return { ...next, chosen: [...next.chosen.slice(0, MOST - 1), next.active] };
}

const same = (one: unknown, other: unknown) => JSON.stringify(one) === JSON.stringify(other);
const names = (selection: Selection) => Object.keys(selection) as (keyof Selection)[];

/** The names of events are typed by trait; one loose signature serves them all here. */
type Events = Record<"on" | "off", (name: string, handler: unknown) => void>;

export class Store implements LabView {
  data = {} as Data; // filled by the constructor
  selection: Selection;
  here: Here = { cell: undefined, pixel: undefined };
  said = ""; // the page's own message, in place of the kernel's
  wrong = false; // whether that is an error
  #lost = false;
  readonly #model: AnyModel;
  readonly #raw = new Map<string, unknown>(); // the values of traits that `data` was read from
  readonly #listeners = new Set<(what: ReadonlySet<What>) => void>();
  readonly #choices: Choices<Selection>;
  #resting: ReturnType<typeof setTimeout> | undefined; // until the pointer's place is asked for
  #waiting: ReturnType<typeof setTimeout> | undefined; // until an answer is overdue

  constructor(model: AnyModel) {
    this.#model = model;
    this.#choices = new Choices(model);
    this.#read();
    this.selection = selectionOf(this.#get);
    (model as unknown as Events).on("change", this.#changed);
  }

  /** Whether the kernel is gone: what needs it is refused, so that the results stay. */
  get lost() {
    return this.#lost;
  }
  set lost(lost: boolean) {
    if (lost === this.#lost) return;
    this.#lost = lost;
    this.#tell("state");
  }

  /** Leaves the model; choices that wait are sent. */
  remove() {
    (this.#model as unknown as Events).off("change", this.#changed);
    this.#listeners.clear();
    for (const timer of [this.#resting, this.#waiting]) clearTimeout(timer);
    this.#choices.remove();
  }

  onChange(listener: (what: ReadonlySet<What>) => void) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  select(change: Partial<Selection>) {
    const next = changed(this.selection, change);
    const others = names(next).filter((name) => !same(next[name], this.selection[name]));
    if (others.length === 0) return;
    if (this.#lost && others.some((name) => name !== "view" && name !== "panel")) {
      this.#say(LOST);
      return;
    }
    this.#choices.set(Object.fromEntries(others.map((name) => [name, next[name]])));
    if (others.some((name) => name !== "view" && name !== "panel")) this.#wait();
    this.#changed(); // hosts report it, too, but not all of them at once
    this.#choices.send();
  }

  point(here: Partial<Here>) {
    const next = { ...this.here, ...here };
    if (same(next, this.here)) return;
    this.here = next;
    clearTimeout(this.#resting);
    const of = next.cell ? "cell" : "pixel";
    const place = next[of];
    if (place !== undefined) {
      // Not `send`: if nobody answers, nothing is said.
      const ask = () => this.#model.send({ kind: "touch", of, ...place });
      this.#resting = setTimeout(() => quietly(ask), REST);
    }
    this.#tell("here");
  }

  send(message: Record<string, unknown>, buffers: ArrayBuffer[] = []) {
    if (this.#lost) {
      this.#say(LOST);
      return;
    }
    this.#wait();
    quietly(() => this.#model.send(message, undefined, buffers));
  }

  /** Sends an image file, to be the second image if `second`. */
  readonly open = opener(
    (words, wrong) => this.#say(words, wrong),
    (message, data) => this.send(message, data),
  );

  readonly #get = (name: string): unknown => this.#model.get(name);

  readonly #changed = () => {
    this.#choices.keep();
    const what = this.#read();
    if ([...what].some((name) => name !== "touch")) {
      clearTimeout(this.#waiting);
      if (this.said) what.add("message");
      this.said = "";
    }
    const next = selectionOf(this.#get);
    for (const name of names(next)) {
      if (!same(next[name], this.selection[name])) what.add(name);
    }
    this.selection = next;
    if (what.size > 0) this.#tell(...what);
  };

  /** Reads the traits that have changed, except the selection; returns their names. */
  #read(): Set<What> {
    const what = new Set<What>();
    for (const name of NAMES) {
      const value = this.#get(name);
      if (this.#raw.has(name) && this.#raw.get(name) === value) continue;
      this.#raw.set(name, value);
      this.data = { ...this.data, [name]: read(name, value) };
      what.add(name);
    }
    return what;
  }

  /** Says so if the kernel does not answer in time. */
  #wait() {
    clearTimeout(this.#waiting);
    this.#waiting = setTimeout(() => this.#say(NO_KERNEL), ANSWERED_WITHIN);
  }

  #say(words: string, wrong = false) {
    this.said = words;
    this.wrong = wrong;
    this.#tell("message");
  }

  #tell(...what: What[]) {
    const all = new Set(what);
    for (const listener of this.#listeners) listener(all);
  }
}

export interface Model {
  uid: string;
}

export const stores = oneForEach((model: AnyModel<Model>) => new Store(model as AnyModel));
