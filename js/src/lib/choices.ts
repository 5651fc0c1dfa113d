// What a person chooses, on its way to the kernel: at once, but not more often than it can take.

import type { AnyModel } from "@anywidget/types";

const INTERVAL = 100; // ms from one message of choices to the kernel to the next, at least

/** A notebook without a kernel plays all the same: that nobody hears is no error. */
export function quietly(say: () => unknown) {
  try {
    const said = say();
    if (said instanceof Promise) said.catch(() => {});
  } catch {
    // as said
  }
}

export class Choices<T extends object> {
  readonly #model: AnyModel;
  #waiting: Partial<T> = {}; // chosen, and not sent yet
  #timer: ReturnType<typeof setTimeout> | undefined; // until the next message may go

  constructor(model: AnyModel) {
    this.#model = model;
  }

  /** Sets the traits of these names; `send` sends them. */
  set(change: Partial<T>) {
    this.#waiting = { ...this.#waiting, ...change };
    for (const name of keys(change)) this.#model.set(name, change[name]);
  }

  /** The kernel's answer to an earlier choice must not take back one that is not sent yet. */
  keep() {
    for (const name of keys(this.#waiting)) {
      const chosen = this.#waiting[name];
      if (this.#model.get(name) !== chosen) this.#model.set(name, chosen);
    }
  }

  send() {
    if (this.#timer !== undefined || keys(this.#waiting).length === 0) return;
    this.#save();
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.send();
    }, INTERVAL);
  }

  /** Nothing is chosen any more; what waits is sent. */
  remove() {
    clearTimeout(this.#timer);
    if (keys(this.#waiting).length > 0) this.#save();
  }

  #save() {
    this.#waiting = {};
    quietly(() => this.#model.save_changes());
  }
}

/** The names of all that has a value. */
function keys<T extends object>(change: Partial<T>) {
  const names = Object.keys(change) as (keyof T & string)[];
  return names.filter((name) => change[name] !== undefined);
}
