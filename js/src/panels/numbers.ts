// The numbers of the run: the step on show, its noise level, its time and the time left.

import { symbol } from "../lib/controls";
import { h, write } from "../lib/dom";
import { isActive, type Show } from "../lib/show";
import { secondsLeft } from "../lib/timing";
import type { Panel, What } from "../lib/view";
import { duration, level } from "../lib/words";
import { stepWords } from "./transport";

const TICK = 500; // ms between looks at the clock

export function numbers(view: Show): Panel {
  const line = (...words: (Node | string)[]) => {
    const value = h("dd", {}, "–");
    return { value, row: h("div", {}, h("dt", {}, ...words), value) };
  };
  const step = line("step");
  const sigma = line("noise ", symbol("σ"));
  const took = line("time per step");
  const left = line("time left");
  const lines = [step, sigma, took, left];
  const element = h("dl", "sdw-numbers", ...lines.map(({ row }) => row));
  let newest: unknown; // the last step that arrived
  let since = 0; // ms, when it arrived

  const countDown = () => {
    const seconds = secondsLeft(view.reel) - (performance.now() - since) / 1000;
    const known = view.state === "running" && !Number.isNaN(seconds);
    write(left.value, known ? duration(Math.max(seconds, 0)) : "–");
  };
  const timer = setInterval(() => {
    if (isActive(view)) countDown();
  }, TICK);

  const update = (what: What) => {
    if (what === "hover") return;
    const { reel, selection } = view;
    const last = reel.frames.at(-1)?.index;
    if (last !== newest) [newest, since] = [last, performance.now()];
    const frame = view.state === "loading" ? undefined : reel.at(selection.step);
    write(step.value, frame ? stepWords(frame, reel.header).slice(5) : "–");
    write(sigma.value, frame ? level(frame.sigma) : "–");
    write(took.value, frame ? duration(frame.seconds ?? Number.NaN) : "–");
    countDown();
  };
  update("data");
  return { element, update, remove: () => clearInterval(timer) };
}
