// What a widget says below itself: the page's own words until the kernel answers, then the kernel's.

import type { AnyModel } from "@anywidget/types";
import { quietly } from "./choices";
import { write } from "./dom";
import { LOST, onConnection } from "./kernel";

export class Saying<Kind extends string> {
  /** Whether the kernel is known to be gone. */
  lost = false;
  #own: { words: string; wrong: boolean } | undefined;
  readonly #model: AnyModel;
  readonly #changed: () => void;
  readonly #leave: () => void;

  /** `changed` is called when there is something else to say, and when the kernel is lost. */
  constructor(model: unknown, changed: () => void) {
    this.#model = model as AnyModel;
    this.#changed = changed;
    this.#leave = onConnection(model, (lost) => {
      this.lost = lost;
      if (lost && this.busy)
        this.say(LOST); // nothing answers any more
      else changed();
    });
  }

  /** Whether the page waits for the kernel. */
  get busy(): boolean {
    return this.#own !== undefined && !this.#own.wrong;
  }

  /** Says what is wrong, or what is being done, until the kernel answers. */
  readonly say = (words: string, wrong = true) => {
    this.#own = { words, wrong };
    this.#changed();
  };

  /** The kernel has answered: what it says counts again. */
  answered() {
    this.#own = undefined;
  }

  /** Asks the kernel for something, or says that it is gone. */
  readonly ask = (kind: Kind, more: object = {}, data: ArrayBuffer[] = []) => {
    if (this.lost) this.say(LOST);
    else quietly(() => this.#model.send({ kind, ...more }, undefined, data));
  };

  /** Writes the page's own words, or the kernel's, where they belong. */
  write(status: HTMLElement, error: HTMLElement, problem = "", message = "") {
    const own = this.#own;
    write(status, own ? (own.wrong ? "" : own.words) : message);
    write(error, own ? (own.wrong ? own.words : "") : problem);
  }

  remove() {
    this.#leave();
  }
}
