// Sends what a person chooses to the kernel: at once, but no more often than the kernel can take.

import type { AnyModel } from "@anywidget/types";

const INTERVAL = 100; // ms between two messages, at least

/** Runs a call to the kernel. A page without a kernel must work, too, so errors are ignored. */
export function quietly(say: () => unknown) {
  try {
    const said = say();
    if (said instanceof Promise) said.catch(() => {});
  } catch {
    // no kernel
  }
}

export class Choices<T extends object> {
  readonly #model: AnyModel;
  #waiting: Partial<T> = {}; // chosen but not sent yet
  #timer: ReturnType<typeof setTimeout> | undefined; // runs until the next message may go

  constructor(model: AnyModel) {
    this.#model = model;
  }

  /** Sets these traits; `send` sends them. */
  set(change: Partial<T>) {
    this.#waiting = { ...this.#waiting, ...change };
    for (const name of keys(change)) this.#model.set(name, change[name]);
  }

  /** Restores choices not sent yet that the kernel's answer to an earlier one has overwritten. */
  keep() {
    for (const name of keys(this.#waiting)) {
      const chosen = this.#waiting[name];
      if (this.#model.get(name) !== chosen) this.#model.set(name, chosen);
    }
  }

  send() {
    if (this.#timer || keys(this.#waiting).length === 0) return;
    this.#save();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.send();
    }, INTERVAL);
  }

  /** Ends it, and sends what waits. */
  remove() {
    clearTimeout(this.#timer);
    if (keys(this.#waiting).length > 0) this.#save();
  }

  #save() {
    this.#waiting = {};
    quietly(() => this.#model.save_changes());
  }
}

/** The names that have a value. */
function keys<T extends object>(change: Partial<T>) {
  const names = Object.keys(change) as (keyof T & string)[];
  return names.filter((name) => change[name] !== undefined);
}
