// Whether a kernel answers, whether it is gone, and whether it has heard a click on Stop.

import type { AnyModel } from "@anywidget/types";
import { quietly } from "./choices";
import type { ASKS } from "./contract";

// What to say after so many ms. A kernel that is still starting is slow to answer.
const SILENCE: [number, string][] = [
  [3000, "The kernel has not answered yet"],
  [15000, "No kernel answers. It is busy, or this is a saved view."],
];
/** What to say once the kernel is gone that a widget lived in. */
export const LOST = "The kernel has ended: run the cell again.";
const CONNECTION = "comm_live_update"; // the event of ipywidgets' models

interface Host {
  get(name: string): unknown;
  on: Follow;
  off: Follow;
  widget_manager?: { get_model(id: unknown): Promise<{ comm_live?: boolean }> };
}

/** Says whether the host has lost the kernel of a model; JupyterLab and Notebook 7 know. */
export function ifLost(model: unknown, tell: (lost: boolean) => void) {
  const host = model as Host;
  quietly(() =>
    host.widget_manager?.get_model(host.get("uid")).then((own) => tell(own.comm_live === false)),
  );
}

/** Says so at once, and whenever it changes. Returns the cleanup. */
export function onConnection(model: unknown, tell: (lost: boolean) => void): () => void {
  const look = () => ifLost(model, tell);
  (model as Host).on(CONNECTION, look);
  look();
  return () => (model as Host).off(CONNECTION, look);
}

export const ANSWERED_WITHIN = 1000; // ms, for a click

/** A page's message to the kernel. */
export type Ask = {
  kind: (typeof ASKS)["picture" | "studio" | "training" | "sweep" | "walk"][number];
} & Record<string, unknown>;

type Follow = (name: string, handler: unknown) => void;

export class Kernel {
  /** Whether the kernel is known to be gone. */
  lost = false;
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
    this.#greet();
    this.#look();
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
    this.#settle();
    clearTimeout(this.#stop);
  }

  /** A changed trait is an answer, too. */
  #follow(how: "on" | "off") {
    const model = this.#model as unknown as Record<"on" | "off", Follow>;
    model[how]("msg:custom", this.#heard);
    model[how]("change", this.#answered);
    model[how](CONNECTION, this.#look);
  }

  /** Waits for no answer any more. */
  #settle() {
    for (const timer of this.#timers.splice(0)) clearTimeout(timer);
  }

  #greet() {
    this.#settle();
    this.here = "unknown";
    this.silence = "";
    if (this.lost) return this.#silent(LOST);
    for (const [after, words] of SILENCE) this.#timers.push(setTimeout(this.#silent, after, words));
    this.send({ kind: "hello" });
  }

  readonly #look = () =>
    ifLost(this.#model, (lost) => {
      if (lost === this.lost) return;
      this.lost = lost;
      this.#greet();
      this.#changed();
    });

  readonly #silent = (words: string) => {
    this.here = "silent";
    this.silence = words;
    this.#changed();
  };

  readonly #answered = () => {
    if (this.lost) return; // the page's own change of a trait
    this.#settle();
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
