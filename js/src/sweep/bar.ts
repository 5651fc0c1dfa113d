// How far a sweep is, and the buttons to start, pause, continue and end it.

import type { ASKS } from "../lib/contract";
import { aria, h, on, vary, write } from "../lib/dom";
import { ANSWERED_WITHIN, type Kernel } from "../lib/kernel";
import { duration } from "../lib/words";
import type { State, Store } from "./store";

type Kind = Extract<(typeof ASKS)["sweep"][number], "start" | "pause" | "resume" | "stop">;

const ACTIVE: readonly State[] = ["running", "pausing", "paused", "stopping"];

/** The message about a request that the kernel has not carried out. */
const ASKED: Record<Kind, string> = {
  start: "Starting",
  pause: "Pausing",
  resume: "Continuing",
  stop: "Cancelling",
};

/** What the first button does in each state. */
const FIRST: Record<State, { kind: Kind; words: string }> = {
  idle: { kind: "start", words: "Start" },
  running: { kind: "pause", words: "Pause" },
  pausing: { kind: "resume", words: "Continue" },
  paused: { kind: "resume", words: "Continue" },
  stopping: { kind: "pause", words: "Pause" },
  done: { kind: "start", words: "Try again" },
  stopped: { kind: "start", words: "Continue" },
  error: { kind: "start", words: "Try again" },
};

export function bar(store: Store, kernel: () => Kernel) {
  const first = h("button", { class: "sdw-button sdw-s-first-button" }, "Start");
  const stop = h("button", { class: "sdw-button" }, "Cancel");
  const progress = h("progress", { class: "sdw-progress sdw-s-progress", max: 1, value: 0 });
  aria(progress, "label", "progress of the sweep");
  const counts = h("p", "sdw-s-counts");
  const saved = h("p", "sdw-s-saved");
  const status = h("p", { class: "sdw-s-status", role: "status" });
  const error = h("p", { class: "sdw-error sdw-s-error", role: "alert", dir: "auto" });
  const quarters = h("p", { class: "sdw-s-unseen", role: "status" });
  const element = h(
    "div",
    "sdw-s-run",
    h("div", "sdw-s-buttons", first, stop, status),
    progress,
    h("div", "sdw-s-numbers", counts, saved),
    error,
    quarters,
  );

  let asked: Kind | undefined; // not carried out yet
  let unheard = false; // that is overdue
  let timer: ReturnType<typeof setTimeout> | undefined;
  let run: unknown;
  let told = "";

  /** The state; a sweep whose kernel is gone does not go on. */
  const stateNow = (): State => {
    const { state } = store.run;
    return kernel().lost && ACTIVE.includes(state) ? "stopped" : state;
  };
  const ask = (kind: Kind) => {
    asked = kind;
    unheard = false;
    store.send(kind);
    clearTimeout(timer);
    timer = setTimeout(() => {
      unheard = true;
      show();
    }, ANSWERED_WITHIN);
    show();
  };
  on(first, "click", () => {
    if (first.getAttribute("aria-disabled") !== "true") ask(FIRST[stateNow()].kind);
  });
  on(stop, "click", () => {
    if (stop.getAttribute("aria-disabled") !== "true") ask("stop");
  });

  const show = () => {
    if (store.run !== run) {
      run = store.run;
      asked = undefined;
      told = "";
      clearTimeout(timer);
    }
    const state = stateNow();
    const { message } = store.run;
    const { count, done, failed, steps, saved: fewer, left } = store.progress;
    const active = ACTIVE.includes(state);
    const over = count > 0 ? (done + failed) / count : 0;
    const waiting =
      asked && (unheard ? `${ASKED[asked]} once the cell has finished` : ASKED[asked]);
    const ended = state === "error" ? "Ended by an error" : message;
    write(status, waiting || kernel().silence || told || ended);
    write(error, state === "error" ? message : "");
    const nothing = state === "done" && failed === 0;
    write(first, nothing ? FIRST.running.words : FIRST[state].words);
    // Not `disabled`: that would drop the focus, and the next keys would go to the notebook.
    const gone = kernel().lost || kernel().here === "silent";
    aria(first, "disabled", gone || nothing || state === "stopping");
    aria(stop, "disabled", gone || !active || state === "stopping");
    progress.value = over;
    vary(progress, "over", over);
    write(
      counts,
      [
        count > 0 ? `${done} of ${count} images` : "",
        failed > 0 ? `${failed} failed` : "",
        state === "running" && left !== null ? `about ${duration(left)} left` : "",
      ]
        .filter(Boolean)
        .join(" · "),
    );
    write(saved, fewer > 0 ? `${fewer} of ${steps} steps saved by sharing` : "");
    // Read out at each quarter, and not with each image.
    const quarter = Math.floor(4 * over);
    write(quarters, state === "running" && quarter > 0 ? `${25 * quarter} % of the images` : "");
  };

  return {
    element,
    show,
    /** Says what came of a request; until the next change of state. */
    tell(message: string) {
      told = message;
      show();
    },
    remove: () => clearTimeout(timer),
  };
}
