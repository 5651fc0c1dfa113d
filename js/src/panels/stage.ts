// The stage: the picture at one step, as large as there is room, and the transport below it.

import { choice, symbol } from "../lib/controls";
import { h, write } from "../lib/dom";
import type { Frame } from "../lib/reel";
import type { Show } from "../lib/store";
import { batchOf, type Head, type Panel, pictureOf, type What } from "../lib/view";
import { duration, level } from "../lib/words";
import { onStage, screen, type ViewName } from "./screen";
import { stepWords, transport } from "./transport";

/** The stage; `over`, a heat map, lies above its picture. */
export function stage(view: Show, over?: Panel): Panel {
  const picture = screen(view, over);
  const moving = transport(view);
  const error = h("p", { class: "sdw-v-error", role: "alert", dir: "auto" });
  const where = h("span", { class: "sdw-v-where" });
  const note = h("span", { class: "sdw-v-note" });
  const status = h("span", { class: "sdw-v-status", role: "status", dir: "auto" });
  const left = h("span", { class: "sdw-v-left-time" });
  picture.element.append(error);

  const views = choice<ViewName>(
    "What the picture shows",
    [
      { value: "noisy", label: ["noisy ", symbol("x", "t")] },
      { value: "clean", label: ["clean so far ", symbol("x", "0")] },
      { value: "change", label: ["change ", symbol("Δx", "0")] },
      { value: "picture", label: ["picture"], title: "The last step's latents, decoded" },
    ],
    (value) => {
      view.select(
        value === "picture" ? { view: value, step: -1, guidance: null } : { view: value },
      );
    },
  );
  const pager = pages(view);

  const element = h(
    "div",
    { class: "sdw-v-main" },
    h("div", { class: "sdw-v-bar" }, views.element, pager.element),
    picture.element,
    moving.element,
    h("p", { class: "sdw-v-caption" }, where, note),
    h("p", { class: "sdw-v-caption" }, status, left),
  );

  const say = () => {
    const { state, message, reel, selection } = view;
    views.show(onStage(view));
    views.allow("picture", state !== "running" && view.pictures.length > 0);
    const frame = reel.at(selection.step);
    const took = frame?.seconds == null ? "" : ` · ${duration(frame.seconds)}`;
    write(where, frame ? `${stepWords(frame, reel.head)} · σ ${level(frame.sigma)}${took}` : "");
    write(note, picture.note);
    write(status, state === "error" ? "" : message);
    write(error, state === "error" ? message : "");
    write(left, state === "running" ? timeLeft(reel.frames, reel.head) : "");
  };

  const update = (what: What) => {
    picture.update(what);
    if (what === "hover") return;
    moving.update(what);
    pager.update();
    say();
  };
  update("data");
  return {
    element,
    update,
    remove() {
      picture.remove?.();
      moving.remove?.();
    },
  };
}

/** The time that the steps still to come will take, if they take as long as those before. */
function timeLeft(frames: readonly Frame[], head: Head | undefined): string {
  const last = frames.at(-1);
  const times = frames.map((frame) => frame.seconds).filter((seconds) => seconds !== null);
  if (last === undefined || head === undefined || times.length < 2) return "";
  // The first step often waits for memory or a compiler.
  const later = times.slice(1);
  const mean = later.reduce((sum, seconds) => sum + seconds, 0) / later.length;
  return `${duration(Math.max(head.steps - 1 - last.index, 0) * mean)} left`;
}

/** "picture 1 of 4" with a button at each side; nothing for one picture. */
function pages(view: Show): { element: HTMLElement; update(): void } {
  const text = h("span", { "aria-live": "polite" });
  const button = (words: string, sign: string, by: number) => {
    const made = h("button", { type: "button", class: "sdw-button", "aria-label": words }, sign);
    made.addEventListener("click", () => view.select({ picture: wrapped(by) }));
    return made;
  };
  const count = () => batchOf(view);
  const wrapped = (by: number) => (pictureOf(view) + by + count()) % count();
  const element = h(
    "div",
    { class: "sdw-v-pages", role: "group", "aria-label": "Which picture" },
    button("the picture before", "‹", -1),
    text,
    button("the next picture", "›", 1),
  );
  return {
    element,
    update() {
      element.hidden = count() < 2;
      if (count() > 1) write(text, `${pictureOf(view) + 1} of ${count()}`);
    },
  };
}
