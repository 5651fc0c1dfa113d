// Whether a kernel is there, and whether it hears.

import type { AnyModel } from "@anywidget/types";
import { quietly } from "./choices";
import type { ASKS } from "./contract";

// A kernel that is only just starting is slow to answer; after the longer time none is there. In ms.
const SILENCE: [number, string][] = [
  [3000, "The kernel has not answered yet"],
  [15000, "No kernel answers: it is busy, or this is a saved view. Run the cell again."],
];
const STOP_ANSWERED_WITHIN = 1000; // ms

/** What a page tells it, and what goes with that. */
export type Ask = { kind: (typeof ASKS)["picture" | "studio"][number]; id?: number };

type Follow = (name: string, handler: unknown) => void;

export class Kernel {
  /** What to say of a kernel that is silent; "" for one that answers. */
  silence = "";
  /** Whether it has heard a click on Stop; undefined: nobody asked. */
  stopping: "asked" | "heard" | "unheard" | undefined;
  readonly #model: AnyModel;
  readonly #changed: () => void;
  readonly #timers: ReturnType<typeof setTimeout>[] = [];
  #stop: ReturnType<typeof setTimeout> | undefined;
  here: "unknown" | "silent" | "here" = "unknown";

  /** Greets it: a saved notebook shows its last image without one. `changed` is told of all here. */
  constructor(model: AnyModel, changed: () => void) {
    this.#model = model;
    this.#changed = changed;
    this.#follow("on");
    for (const [after, words] of SILENCE) this.#timers.push(setTimeout(this.#silent, after, words));
    this.send({ kind: "hello" });
  }

  send(message: Ask) {
    quietly(() => this.#model.send(message));
  }

  /** The Stop button tells the kernel itself; here a person learns when it will act. */
  askToStop() {
    if (this.stopping !== undefined) return;
    this.stopping = "asked";
    this.send({ kind: "ping" }); // answered in turn, so after the click has been handled
    this.#stop = setTimeout(() => {
      if (this.stopping !== "asked") return;
      this.stopping = "unheard";
      this.#changed();
    }, STOP_ANSWERED_WITHIN);
    this.#changed();
  }

  /** No run goes on any more. */
  stopped() {
    clearTimeout(this.#stop);
    this.stopping = undefined;
  }

  remove() {
    this.#follow("off");
    for (const timer of [...this.#timers, this.#stop]) clearTimeout(timer);
  }

  /** What it sets is an answer, too. */
  #follow(how: "on" | "off") {
    const model = this.#model as unknown as Record<"on" | "off", Follow>;
    model[how]("msg:custom", this.#heard);
    model[how]("change", this.#answered);
  }

  readonly #silent = (words: string) => {
    this.here = "silent";
    this.silence = words;
    this.#changed();
  };

  readonly #answered = () => {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
    const news = this.here !== "here";
    this.here = "here";
    this.silence = "";
    if (news) this.#changed();
  };

  readonly #heard = (message: unknown) => {
    this.#answered();
    const { kind } = Object(message) as { kind?: unknown };
    if (kind !== "pong" || this.stopping === undefined) return;
    this.stopping = "heard";
    this.#changed();
  };
}
