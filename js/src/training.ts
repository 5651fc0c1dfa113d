// A running training: its images, its loss in numbers and as a curve, pause and stop.

import type { AnyModel, Render } from "@anywidget/types";
import type { TRAINING_STATES } from "./lib/contract";
import { curveOf } from "./lib/curve";
import { h, write } from "./lib/dom";
import { ANSWERED_WITHIN, Kernel } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { numbered } from "./lib/shared";
import { type Sheet, sheetOf } from "./lib/sheets";
import { amount, duration } from "./lib/words";
import { plot } from "./panels/curve";
import { sheets } from "./panels/sheets";
import "./training.css";

type State = (typeof TRAINING_STATES)[number];

interface Run {
  id: number;
  state: State;
  message: string; // one line, or up to three for an error
}

/** The traits of the kernel's TrainingView, besides grid0 to grid23. The page never sets one. */
export interface Model {
  run: Run;
  numbers: Record<string, unknown>; // of the newest step; {} before the first
  curve: unknown; // float32 [steps, 1 + 2 * names]
  names: string[];
}

const GRIDS = numbered("grid");
const ACTIVE: readonly State[] = ["running", "pausing", "paused", "stopping"];

/** The message about a request that the kernel has not carried out. */
const ASKED = { pause: "Pausing", resume: "Resuming", stop: "Stopping" } as const;

function trainingView(model: AnyModel<Model>, el: HTMLElement): () => void {
  const loose = model as unknown as AnyModel; // for the numbered traits
  const images = sheets(() => drawCurve());
  const curve = plot((step) => images.pick(step));
  const pause = h("button", { type: "button", class: "sdw-button sdw-t-pause" }, "Pause");
  const stop = h("button", { type: "button", class: "sdw-button sdw-t-stop" }, "Stop");
  const progress = h("progress", { class: "sdw-progress sdw-t-progress", max: 1, value: 0 });
  progress.setAttribute("aria-label", "progress of the training");
  const [where, left] = [h("span", {}, ""), h("span", {}, "")];
  const status = h("p", { class: "sdw-t-status", role: "status" });
  const error = h("p", { class: "sdw-error sdw-t-error", role: "alert", dir: "auto" });
  const [each, rate, lr] = [h("dd", {}, "–"), h("dd", {}, "–"), h("dd", {}, "–")];
  const read = (words: string, value: HTMLElement) => h("div", {}, h("dt", {}, words), value);
  el.classList.add("sdw", "sdw-training");
  el.replaceChildren(
    h(
      "div",
      { class: "sdw-t-body" },
      images.element,
      h(
        "div",
        { class: "sdw-t-side" },
        h("div", { class: "sdw-t-buttons" }, pause, stop, status),
        h(
          "div",
          {},
          progress,
          h("p", { class: "sdw-t-caption", "aria-hidden": "true" }, where, left),
        ),
        curve.element,
        h(
          "dl",
          { class: "sdw-t-numbers" },
          read("time per step", each),
          read("samples per second", rate),
          read("learning rate", lr),
        ),
        error,
      ),
    ),
  );

  let asked: keyof typeof ASKED | undefined; // the request that the kernel has not carried out yet
  let unheard = false; // that request is overdue
  let timer: ReturnType<typeof setTimeout> | undefined;
  let run = model.get("run");
  let kept: (Sheet | undefined)[] = []; // by slot
  let values: unknown[] = []; // the trait values that `kept` was read from
  let table = curveOf(undefined, []);
  let tableOf: unknown; // the trait value that `table` was read from

  /** The state; a training whose kernel is gone does not go on. */
  const stateNow = (): State => {
    const { state } = model.get("run");
    return kernel.lost && ACTIVE.includes(state) ? "stopped" : state;
  };
  const numbers = () => model.get("numbers") ?? {};
  const number = (name: string) => {
    const value = numbers()[name];
    return typeof value === "number" ? value : Number.NaN;
  };

  const ask = (kind: keyof typeof ASKED) => {
    asked = kind;
    unheard = false;
    kernel.send({ kind });
    clearTimeout(timer);
    timer = setTimeout(() => {
      unheard = true;
      say();
    }, ANSWERED_WITHIN);
    say();
  };
  pause.addEventListener("click", () => {
    if (pause.getAttribute("aria-disabled") === "true") return;
    const waits = ["paused", "pausing"].includes(model.get("run").state);
    ask(waits ? "resume" : "pause");
  });
  stop.addEventListener("click", () => {
    if (stop.getAttribute("aria-disabled") !== "true") ask("stop");
  });

  const say = () => {
    const state = stateNow();
    const { message } = model.get("run");
    const active = ACTIVE.includes(state);
    const waiting =
      asked && active && (unheard ? `${ASKED[asked]} once the cell has finished` : ASKED[asked]);
    write(status, state === "error" ? "Stopped by an error" : waiting || kernel.silence || message);
    write(error, state === "error" ? message : "");
    write(pause, state === "paused" || state === "pausing" ? "Resume" : "Pause");
    // Not `disabled`: that would drop the focus, and the next keys would go to the notebook.
    pause.setAttribute("aria-disabled", String(!active || state === "stopping"));
    stop.setAttribute("aria-disabled", String(!active || state === "stopping"));
    el.dataset.state = state;
    if (kernel.here !== "unknown") el.dataset.kernel = kernel.here;
  };

  const drawNumbers = () => {
    const state = stateNow();
    const [step, steps] = [number("step"), number("steps")];
    const known = steps > 0;
    if (ACTIVE.includes(state) && !(step > 0)) progress.removeAttribute("value");
    else progress.value = known ? Math.min(step / steps, 1) : 0;
    write(where, step > 0 ? `step ${step}${known ? ` of ${steps}` : ""}` : "");
    const going = state === "running" || state === "pausing";
    write(left, going && number("left") >= 0 ? `${duration(number("left"))} left` : "");
    write(each, duration(number("seconds")));
    write(rate, amount(number("rate")));
    write(lr, amount(number("lr")));
    el.dataset.step = String(step || 0);
  };

  const drawSheets = () => {
    const next = GRIDS.map((name) => loose.get(name));
    if (next.every((value, i) => value === values[i])) return;
    kept = next.map((value, i) => (value === values[i] ? kept[i] : sheetOf(value)));
    values = next;
    const seen = kept.filter((one) => one !== undefined).sort((a, b) => a.step - b.step);
    images.show(seen, model.get("run").id);
    el.dataset.sheets = String(seen.length);
  };

  const drawCurve = () => {
    const data = model.get("curve");
    if (data !== tableOf) table = curveOf(data, model.get("names") ?? []);
    tableOf = data;
    const means = (numbers().means ?? {}) as Record<string, unknown>;
    curve.show(table, number("steps") || 1, means, images.step);
  };

  const draw = () => {
    drawSheets();
    drawCurve();
    drawNumbers();
    say();
  };
  const changed = () => {
    if (model.get("run") !== run) {
      clearTimeout(timer);
      asked = undefined;
    }
    run = model.get("run");
    draw();
  };

  const kernel = new Kernel(model as unknown as AnyModel, () => draw());
  // anywidget types the names of events by trait; one loose signature serves them all here.
  const events = model as unknown as Record<"on" | "off", (name: string, handler: unknown) => void>;
  events.on("change", changed);
  const freeKeys = keepKeys(el);
  draw();
  return () => {
    events.off("change", changed);
    clearTimeout(timer);
    kernel.remove();
    freeKeys();
    images.remove();
  };
}

const render: Render<Model> = ({ model, el }) => trainingView(model, el);

export default { render };
