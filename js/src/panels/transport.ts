// Moving through the steps: play, a slider over the kept ones, keys and the wheel.

import { aria, h, on, svg, vary } from "../lib/dom";
import { branchedAt } from "../lib/header";
import { isShortcut } from "../lib/keys";
import { clamp } from "../lib/numbers";
import type { Frame } from "../lib/reel";
import { isActive, type Show } from "../lib/show";
import { type Header, type Panel, placeOf, showStep, stepsOf } from "../lib/view";
import { level } from "../lib/words";

const TICK = 125; // ms per step: eight steps per second
const REST = 8; // ticks on the last step before starting again
const NOTCH = 30; // pixels of the wheel per step

export const PLAY = "M4 2.5v11l9-5.5z";
export const PAUSE = "M4 2.5h3v11h-3zM9 2.5h3v11h-3z";

/** "step 7 (0–19)": steps are numbered as in Python, where `trace.steps[7]` is this one. */
export function stepWords({ index }: Frame, header: Header | undefined): string {
  const last = Math.max((header?.steps ?? 0) - 1, index);
  return last > 0 ? `step ${index} (0–${last})` : "step 0";
}

export function transport(view: Show): Panel {
  const slider = h("input", { class: "sdw-v-slider", type: "range", min: 0, max: 1, value: 0 });
  aria(slider, "label", "step on show");
  const progress = h("progress", { class: "sdw-progress sdw-v-progress", max: 1, value: 0 });
  aria(progress, "label", "progress of the run");
  const sign = svg("path");
  const icon = svg("svg", { viewBox: "0 0 16 16" });
  icon.append(sign);
  const button = h("button", { class: "sdw-button sdw-v-play" }, icon);
  const mark = h("span", { class: "sdw-v-branched", "aria-hidden": "true" });
  const track = h("div", "sdw-v-track", mark, slider, progress);
  const element = h("div", "sdw-v-transport", button, track);

  let timer: ReturnType<typeof setInterval> | undefined;
  let rested = 0;

  const steps = () => stepsOf(view.reel);
  const place = () => placeOf(view.reel, view.selection.step);
  /** Whether the selected step has been read. */
  const isThere = () => view.reel.at(view.selection.step)?.index === steps()[place()];
  const go = (to: number) => {
    const step = steps()[clamp(to, 0, steps().length - 1)];
    if (step !== undefined) showStep(view, step);
    update();
  };
  const move = (to: number) => {
    pause();
    go(to);
  };

  const tick = () => {
    const [at, last] = [place(), steps().length - 1];
    if (last < 1) pause();
    else if (!isThere()) return;
    else if (at < last) go(at + 1);
    else if (view.state !== "running" && ++rested >= REST) go(0);
    if (at < last) rested = 0;
  };
  const play = () => {
    if (steps().length < 2 || timer) return;
    rested = 0;
    timer = setInterval(tick, TICK);
    if (place() === steps().length - 1 && view.state !== "running") go(0);
    update();
  };
  const pause = () => {
    clearInterval(timer);
    timer = undefined;
    update();
  };
  const toggle = () => (timer ? pause() : play());

  const update = () => {
    const shown = view.reel.at(view.selection.step);
    const last = view.reel.frames.at(-1);
    const several = steps().length > 1;
    const count = Math.max(view.reel.header?.steps ?? 0, (last?.index ?? 0) + 1);
    slider.max = String(Math.max(count - 1, 1));
    slider.value = String(steps()[place()] ?? 0);
    // Not `disabled`: that would drop the focus, and the next keys would go to the notebook.
    aria(slider, "disabled", !several);
    aria(button, "disabled", !several);
    const words = shown ? `${stepWords(shown, view.reel.header)}, noise ${level(shown.sigma)}` : "";
    const own = branchedAt(view.reel.header);
    mark.hidden = own === 0;
    vary(mark, "at", own / Math.max(count - 1, 1));
    const from = shown && own > 0 && shown.index === own ? ", branched here" : "";
    const read = isThere() ? from : `, step ${steps()[place()]} is being read`;
    aria(slider, "valuetext", words ? words + read : "no steps yet");
    const playing = timer !== undefined;
    aria(button, "label", playing ? "pause" : "play the steps");
    button.title = playing ? "Pause (space)" : "Play (space)";
    sign.setAttribute("d", playing ? PAUSE : PLAY);
    element.dataset.running = String(isActive(view));
    const waiting = view.state === "loading" || !last;
    if (isActive(view) && waiting) progress.removeAttribute("value");
    else progress.value = last ? (last.index + 1) / count : 0;
  };

  on(slider, "input", () => {
    move(placeOf(view.reel, Number(slider.value)));
  });
  on(button, "click", toggle);
  on(element, "keydown", (event) => {
    if (isShortcut(event)) return;
    const far = Math.max(Math.round(steps().length / 10), 2);
    const to = {
      ArrowLeft: place() - 1,
      ArrowDown: place() - 1,
      ArrowRight: place() + 1,
      ArrowUp: place() + 1,
      PageDown: place() - far,
      PageUp: place() + far,
      Home: 0,
      End: steps().length - 1,
    }[event.key];
    if (to !== undefined) move(to);
    else if (event.key === " " && event.target !== button) toggle();
    else return;
    event.preventDefault();
  });
  let rolled = 0;
  on(
    element,
    "wheel",
    (event) => {
      if (steps().length < 2 || event.ctrlKey) return;
      event.preventDefault();
      const line = event.deltaMode === 0 ? 1 : NOTCH;
      rolled += (event.deltaY || event.deltaX) * line;
      if (Math.abs(rolled) < NOTCH) return;
      move(place() + Math.sign(rolled));
      rolled = 0;
    },
    { passive: false },
  );

  update();
  return {
    element,
    update,
    remove() {
      clearInterval(timer);
    },
  };
}
