// What all views of one model share: the selection, the pointer's position, the listeners.

import type { AnyModel } from "@anywidget/types";
import { Choices, quietly } from "./choices";
import { type ASKS, NUMBERED } from "./contract";
import { times } from "./numbers";
import { NAMES, type Selection, selectionOf } from "./selection";
import type { Hover, What } from "./view";

const FRAMES: (typeof ASKS)["viewer"][number] = "frames"; // asked for, and answered

/** A check for one of these values: returns it, or undefined for anything else. */
export const one =
  <const T>(...values: readonly T[]) =>
  (value: unknown): T | undefined =>
    values.find((each) => each === value);

/** The names of numbered traits: frame0, frame1, ... */
export const numbered = (name: keyof typeof NUMBERED): string[] =>
  times(NUMBERED[name], (i) => `${name}${i}`);

/** anywidget types event names by trait; one loose signature serves them all here. */
type Events = Record<"on" | "off", (name: string, handler: unknown) => void>;

export abstract class Shared {
  selection: Selection;
  hover: Hover = {};
  readonly #model: AnyModel;
  readonly #listeners = new Set<(what: What) => void>();
  readonly #choices: Choices<Selection>;
  #asked: unknown; // the run whose frames have been requested

  constructor(model: AnyModel) {
    this.#model = model;
    this.#choices = new Choices(model);
    this.selection = selectionOf(this.get);
  }

  /** Reads the traits besides the selection; returns whether anything changed. */
  protected abstract read(): boolean;
  /** Takes a message of the kernel; returns whether it changed anything. */
  protected abstract receive(
    message: Record<string, unknown>,
    buffers: readonly unknown[],
  ): boolean;

  protected readonly get = (name: string): unknown => this.#model.get(name);

  /** Follows the model from now on; every subclass's constructor ends with it. */
  protected follow() {
    const events = this.#model as unknown as Events;
    events.on("change", this.#changed);
    events.on("msg:custom", this.#heard);
    this.read();
  }

  /** Leaves the model and saves what waits to be saved. */
  remove() {
    const events = this.#model as unknown as Events;
    events.off("change", this.#changed);
    events.off("msg:custom", this.#heard);
    this.#listeners.clear();
    this.#choices.remove();
  }

  select(change: Partial<Selection>) {
    this.#choices.set(change);
    this.#changed(); // the host reports it, too, but one trait at a time
    this.#choices.send();
  }

  peek(hover: Hover) {
    const { word, cell } = this.hover;
    if (hover.word === word && hover.cell?.x === cell?.x && hover.cell?.y === cell?.y) return;
    this.hover = hover;
    this.tell("hover");
  }

  onChange(listener: (what: What) => void) {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** Asks the kernel, once a run, for the original frames: the traits hold smaller ones. */
  protected ask(run: number) {
    if (run === this.#asked) return;
    this.#asked = run;
    quietly(() => this.#model.send({ kind: FRAMES }));
  }

  readonly #changed = () => {
    this.#choices.keep();
    if (this.read()) this.tell("data");
    const next = selectionOf(this.get);
    if (NAMES.some((name) => next[name] !== this.selection[name])) {
      this.selection = next;
      this.tell("selection");
    }
  };

  readonly #heard = (message: unknown, buffers: readonly unknown[] = []) => {
    const known = Object(message) as Record<string, unknown>;
    if (this.receive(known, buffers)) this.tell("data");
  };

  protected tell(what: What) {
    for (const listener of this.#listeners) listener(what);
  }
}

/** Keeps one object per model. Its views may hold different proxies, so its uid is the key. */
export function oneForEach<M extends AnyModel<{ uid: string }>, T extends { remove(): void }>(
  make: (model: M) => T,
) {
  const known = new Map<unknown, T>();
  const key = (model: M): unknown => model.get("uid") || model;
  return {
    of(model: M): T {
      const found = known.get(key(model)) ?? make(model);
      known.set(key(model), found);
      return found;
    },
    forget(model: M) {
      known.get(key(model))?.remove();
      known.delete(key(model));
    },
  };
}
