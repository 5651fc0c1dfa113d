// The stage: the picture at one step, as large as there is room, and the transport below it.

import { choice, symbol } from "../lib/controls";
import { h, write } from "../lib/dom";
import { bytes } from "../lib/frames";
import { change, clean, paint, preview } from "../lib/latents";
import type { Frame } from "../lib/reel";
import type { Show } from "../lib/store";
import { batchOf, type Head, type Panel, pictureOf, type Selection, type What } from "../lib/view";
import { duration, level } from "../lib/words";
import { stepWords, transport } from "./transport";

type ViewName = Selection["view"];

const NAMES: Record<ViewName, string> = {
  noisy: "noisy latents",
  clean: "clean so far",
  change: "change of the clean latents since the step before",
  picture: "the picture",
};

/** What is on the stage: the picture takes the place of the last step's clean latents. */
export function onStage(view: Show): ViewName {
  const { frames } = view.reel;
  const chosen = view.selection.view;
  if (chosen !== "picture") return chosen;
  if (view.state === "running" || view.pictures.length === 0) return "clean";
  const frame = view.reel.at(view.selection.step);
  if (frame !== frames.at(-1)) return "clean";
  return other(view, frame) ? "clean" : "picture";
}

/** Whether the clean latents on show are those of another guidance than the run's. */
function other(view: Show, frame: Frame | undefined): boolean {
  return view.selection.guidance !== null && frame?.guided === true;
}

/** The stage; `over`, a heat map, lies above its picture. */
export function stage(view: Show, over?: Panel): Panel {
  const canvas = h("canvas", { class: "sdw-v-latents", role: "img", "aria-label": "no picture" });
  const image = h("img", { class: "sdw-v-final", alt: "" });
  const box = h("div", { class: "sdw-v-picture" }, canvas, image);
  if (over) box.append(over.element);
  const hint = h("p", { class: "sdw-v-hint" }, "The picture comes here");
  const error = h("p", { class: "sdw-v-error", role: "alert", dir: "auto" });
  const where = h("span", { class: "sdw-v-where" });
  const note = h("span", { class: "sdw-v-note" });
  const status = h("span", { class: "sdw-v-status", role: "status", dir: "auto" });
  const left = h("span", { class: "sdw-v-left-time" });
  const moving = transport(view);
  let url = "";
  let shown: unknown; // the bytes that the image shows

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
    h("div", { class: "sdw-v-stage" }, hint, box, error),
    moving.element,
    h("p", { class: "sdw-v-caption" }, where, note),
    h("p", { class: "sdw-v-caption" }, status, left),
  );

  const point = (event: PointerEvent) => {
    if (view.reel.head === undefined || view.reel.head.layers.length === 0) return;
    const area = box.getBoundingClientRect();
    const share = (at: number, from: number, size: number) =>
      Math.min(Math.max((at - from) / Math.max(size, 1), 0), 1);
    const x = share(event.clientX, area.left, area.width);
    const y = share(event.clientY, area.top, area.height);
    view.peek({ ...view.hover, cell: { x, y } });
  };
  const away = () => {
    const { word } = view.hover;
    view.peek(word === undefined ? {} : { word });
  };
  box.addEventListener("pointermove", point);
  box.addEventListener("pointerdown", point);
  box.addEventListener("pointerleave", away);
  box.addEventListener("pointercancel", away);

  const load = (which: number) => {
    const data = view.pictures[which];
    if (data?.data === shown) return;
    URL.revokeObjectURL(url);
    shown = data?.data;
    url = "";
    image.removeAttribute("src");
    if (data === undefined) return;
    url = URL.createObjectURL(new Blob([new Uint8Array(bytes(data.data))], { type: data.type }));
    image.src = url;
  };

  const draw = () => {
    const { reel, selection } = view;
    const { head } = reel;
    const frame = reel.at(selection.step);
    const which = pictureOf(view);
    const name = onStage(view);
    load(which);
    shape(box, head, frame);
    element.dataset.show = frame === undefined && view.pictures.length === 0 ? "nothing" : name;
    views.show(name);
    views.allow("picture", view.state !== "running" && view.pictures.length > 0);
    pager.update();

    const said = frame ? `${NAMES[name]}, ${stepWords(frame, head)}` : "no picture yet";
    canvas.setAttribute("aria-label", name === "picture" ? "" : said);
    image.alt = name === "picture" ? head?.pictures[which]?.prompt || "the picture" : "";
    write(note, "");
    if (frame === undefined) {
      canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
      write(where, "");
      return;
    }
    write(note, paintFrame(canvas, view, frame, which, name));
    const took = frame.seconds === null ? "" : ` · ${duration(frame.seconds)}`;
    write(where, `${stepWords(frame, head)} · σ ${level(frame.sigma)}${took}`);
  };

  const say = () => {
    const { state, message, reel } = view;
    write(status, state === "error" ? "" : message);
    write(error, state === "error" ? message : "");
    write(left, state === "running" ? timeLeft(reel.frames, reel.head) : "");
  };

  const update = (what: What) => {
    over?.update(what);
    if (what === "hover") return;
    draw();
    moving.update(what);
    if (what === "data") say();
  };
  update("data");
  return {
    element,
    update,
    remove() {
      URL.revokeObjectURL(url);
      moving.remove?.();
      over?.remove?.();
    },
  };
}

/** Draws one view of a step; returns what must be said beside it. */
function paintFrame(
  canvas: HTMLCanvasElement,
  view: Show,
  frame: Frame,
  which: number,
  name: ViewName,
): string {
  const { reel, selection } = view;
  const factors = reel.head?.factors ?? [];
  if (name === "noisy") {
    if (frame.x) paint(canvas, preview(frame.x, frame.size, which, factors));
    return "";
  }
  if (name === "change") {
    const before = reel.frames[reel.frames.indexOf(frame) - 1];
    const [now, then] = [frame.denoised, before?.denoised ?? frame.denoised];
    if (now === undefined || then === undefined || now.length !== then.length) return "";
    const plane = change(now, then, frame.size, which, factors);
    paint(canvas, plane);
    if (before === undefined) return "the first step: nothing to compare";
    return `since step ${before.index + 1}${plane.gain > 1 ? `, shown ${plane.gain} × as strong` : ""}`;
  }
  const latents = clean(frame, selection.guidance);
  if (latents) paint(canvas, preview(latents, frame.size, which, factors));
  if (!other(view, frame)) return "";
  const asRun = reel.head?.guidance_scale ?? 1;
  return `guidance ${selection.guidance?.toFixed(1)} instead of ${asRun.toFixed(1)}`;
}

/** The box has the picture's shape from the start of the run. */
function shape(box: HTMLElement, head: Head | undefined, frame: Frame | undefined) {
  const [, , rows, columns] = frame?.size ?? [1, 1, 1, 1];
  const [width, height] = head?.width && head.height ? [head.width, head.height] : [columns, rows];
  box.style.setProperty("--sdw-shape", `${width} / ${height}`);
  box.style.setProperty("--sdw-wide", width >= height ? "100%" : "auto");
  box.style.setProperty("--sdw-high", width >= height ? "auto" : "100%");
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
