// The stage of a viewer: the image at one step, as large as possible, and the transport.

import { h, write } from "../lib/dom";
import type { Show } from "../lib/show";
import { secondsLeft } from "../lib/timing";
import type { Panel, What } from "../lib/view";
import { duration, level } from "../lib/words";
import { screen } from "./screen";
import { stepWords, transport } from "./transport";
import { views } from "./views";

/** The stage. `over`, a heat map, lies above its image. */
export function stage(view: Show, over?: Panel): Panel {
  const picture = screen(view, over ? { over } : {});
  const moving = transport(view);
  const bar = views(view);
  const error = h("p", { class: "sdw-v-error", role: "alert", dir: "auto" });
  const where = h("span", "sdw-v-where");
  const note = h("span", "sdw-v-note");
  const status = h("span", { class: "sdw-v-status", role: "status", dir: "auto" });
  const left = h("span", "sdw-v-left-time");
  picture.element.append(error);

  const element = h(
    "div",
    "sdw-v-main",
    bar.element,
    picture.element,
    moving.element,
    h("p", "sdw-v-caption", where, note),
    h("p", "sdw-v-caption", status, left),
  );

  const say = () => {
    const { state, message, reel, selection } = view;
    const frame = reel.at(selection.step);
    const took = frame?.seconds == null ? "" : ` · ${duration(frame.seconds)}`;
    write(where, frame ? `${stepWords(frame, reel.header)} · σ ${level(frame.sigma)}${took}` : "");
    write(note, picture.note);
    write(status, state === "error" ? "" : message);
    write(error, state === "error" ? message : "");
    const seconds = state === "running" ? secondsLeft(reel) : Number.NaN;
    write(left, Number.isNaN(seconds) ? "" : `${duration(seconds)} left`);
  };

  const update = (what: What) => {
    picture.update(what);
    if (what === "hover") return;
    moving.update(what);
    bar.update(what);
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
