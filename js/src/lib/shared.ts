// What all views of one model share: what is selected, where the pointer is, who listens.

import type { AnyModel } from "@anywidget/types";
import { Choices, quietly } from "./choices";
import type { Hover, Selection, What } from "./view";

type Check<T> = (value: unknown) => T | undefined;
export const one =
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
function selectionOf(get: (name: keyof Selection) => unknown): Selection {
  const values = NAMES.map((name) => {
    const [otherwise, check] = CHECKS[name] as [unknown, Check<unknown>];
    return [name, check(get(name)) ?? otherwise];
  });
  return Object.fromEntries(values) as Selection;
}

/** The names of events are typed by trait; one loose signature serves them all here. */
type Events = Record<"on" | "off", (name: string, handler: unknown) => void>;

export abstract class Shared {
  selection: Selection;
  hover: Hover = {};
  readonly #model: AnyModel;
  readonly #listeners = new Set<(what: What) => void>();
  readonly #choices: Choices<Selection>;
  #asked: unknown; // the run whose frames were asked for

  constructor(model: AnyModel) {
    this.#model = model;
    this.#choices = new Choices(model);
    this.selection = selectionOf(this.get);
  }

  /** Reads what is new in the traits beside the selection; returns whether anything was. */
  protected abstract read(): boolean;
  /** Takes an answer to `ask`; returns whether it changed anything. */
  protected abstract receive(answer: Record<string, unknown>, buffers: readonly unknown[]): boolean;

  protected readonly get = (name: string): unknown => this.#model.get(name);

  /** The end of the constructor of every kind: from now on the model is followed. */
  protected follow() {
    const events = this.#model as unknown as Events;
    events.on("change", this.#changed);
    events.on("msg:custom", this.#heard);
    this.read();
  }

  /** Forget the model; what waits to be saved is saved. */
  remove() {
    const events = this.#model as unknown as Events;
    events.off("change", this.#changed);
    events.off("msg:custom", this.#heard);
    this.#listeners.clear();
    this.#choices.remove();
  }

  select(change: Partial<Selection>) {
    this.#choices.set(change);
    this.#changed(); // hosts tell of it, too, but not all at once
    this.#choices.send();
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

  /** Ask the kernel, once a run, for frames as they were: the traits hold smaller ones. */
  protected ask(run: number) {
    if (run === this.#asked) return;
    this.#asked = run;
    quietly(() => this.#model.send({ kind: "frames" }));
  }

  readonly #changed = () => {
    this.#choices.keep();
    if (this.read()) this.#tell("data");
    const next = selectionOf(this.get);
    if (NAMES.some((name) => next[name] !== this.selection[name])) {
      this.selection = next;
      this.#tell("selection");
    }
  };

  readonly #heard = (message: unknown, buffers: readonly unknown[] = []) => {
    const answer = Object(message) as Record<string, unknown>;
    if (answer.kind === "frames" && this.receive(answer, buffers)) this.#tell("data");
  };

  #tell(what: What) {
    for (const listener of this.#listeners) listener(what);
  }
}

/** One for each model, for all its views, which may each have a proxy of their own. */
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
