// Whether a kernel answers, and whether it has heard a click on Stop.

import type { AnyModel } from "@anywidget/types";
import { quietly } from "./choices";
import type { ASKS } from "./contract";

// What to say after so many ms. A kernel that is still starting is slow to answer.
const SILENCE: [number, string][] = [
  [3000, "The kernel has not answered yet"],
  [15000, "No kernel answers. It is busy, or this is a saved view: run its cell again."],
];
export const ANSWERED_WITHIN = 1000; // ms, for a click

/** A page's message to the kernel. */
export type Ask = { kind: (typeof ASKS)["picture" | "studio" | "training"][number] };

type Follow = (name: string, handler: unknown) => void;

export class Kernel {
  /** The message about a silent kernel; "" if it answers. */
  silence = "";
  /** Whether it has heard a click on Stop; undefined without a click. */
  stopping: "asked" | "heard" | "unheard" | undefined;
  readonly #model: AnyModel;
  readonly #changed: () => void;
  readonly #timers: ReturnType<typeof setTimeout>[] = [];
  #stop: ReturnType<typeof setTimeout> | undefined;
  here: "unknown" | "silent" | "here" = "unknown";

  /** Greets the kernel, since a saved notebook has none. `changed` is called when this changes. */
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

  /** Finds out whether the kernel has heard a click on Stop, which the button itself sends. */
  askToStop() {
    if (this.stopping !== undefined) return;
    this.stopping = "asked";
    this.send({ kind: "ping" }); // answered in order, so after the click has been handled
    this.#stop = setTimeout(() => {
      if (this.stopping !== "asked") return;
      this.stopping = "unheard";
      this.#changed();
    }, ANSWERED_WITHIN);
    this.#changed();
  }

  /** Ends this: no run is going on. */
  stopped() {
    clearTimeout(this.#stop);
    this.stopping = undefined;
  }

  remove() {
    this.#follow("off");
    for (const timer of [...this.#timers, this.#stop]) clearTimeout(timer);
  }

  /** A changed trait is an answer, too. */
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
