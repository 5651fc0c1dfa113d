// The picture of a run at one step, with what lies over it, and where the pointer is.

import { h } from "../lib/dom";
import { bytes } from "../lib/frames";
import { change, clean, paint, preview } from "../lib/latents";
import type { Frame } from "../lib/reel";
import type { Show } from "../lib/store";
import {
  guidanceOf,
  type Head,
  type Panel,
  pictureOf,
  type Selection,
  type What,
} from "../lib/view";
import { stepWords } from "./transport";

export type ViewName = Selection["view"];

const NAMES: Record<ViewName, string> = {
  noisy: "noisy latents",
  clean: "clean so far",
  change: "change of the clean latents since the step before",
  picture: "the picture",
};

export interface Screen extends Panel {
  readonly note: string; // what must be said beside the picture
}

/** What is on the screen: the picture takes the place of the last step's clean latents. */
export function onStage(view: Show): ViewName {
  const { frames } = view.reel;
  const chosen = view.selection.view;
  if (chosen !== "picture") return chosen;
  if (view.state === "running" || view.pictures.length === 0) return "clean";
  const frame = view.reel.at(view.selection.step);
  if (frame !== frames.at(-1)) return "clean";
  return otherGuidance(view, frame) ? "clean" : "picture";
}

/** Whether the clean latents on show are those of another guidance than the run's. */
function otherGuidance(view: Show, frame: Frame | undefined): boolean {
  return guidanceOf(view) !== null && frame?.guided === true;
}

/** The screen, in the picture's shape; `over`, a heat map, lies above its picture. */
export function screen(view: Show, over?: Panel): Screen {
  const canvas = h("canvas", { class: "sdw-v-latents", role: "img", "aria-label": "no picture" });
  const image = h("img", { class: "sdw-v-final", alt: "" });
  const box = h("div", { class: "sdw-v-picture" }, canvas, image);
  if (over) box.append(over.element);
  const hint = h("p", { class: "sdw-v-hint" }, "The picture comes here");
  const element = h("div", { class: "sdw-v-stage" }, hint, box);
  let note = "";
  let url = "";
  let shown: unknown; // the bytes that the image shows

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
    const said = frame ? `${NAMES[name]}, ${stepWords(frame, head)}` : "no picture yet";
    canvas.setAttribute("aria-label", name === "picture" ? "" : said);
    image.alt = name === "picture" ? head?.pictures[which]?.prompt || "the picture" : "";
    if (frame === undefined) canvas.getContext("2d")?.clearRect(0, 0, canvas.width, canvas.height);
    note = frame ? paintFrame(canvas, view, frame, which, name) : "";
  };

  const update = (what: What) => {
    over?.update(what);
    if (what !== "hover") draw();
  };
  update("data");
  return {
    element,
    update,
    get note() {
      return note;
    },
    remove() {
      URL.revokeObjectURL(url);
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
  const latents = clean(frame, guidanceOf(view));
  if (latents) paint(canvas, preview(latents, frame.size, which, factors));
  if (!otherGuidance(view, frame)) return "";
  const asRun = reel.head?.guidance_scale ?? 1;
  return `guidance ${selection.guidance?.toFixed(1)} instead of ${asRun.toFixed(1)}`;
}

/** The box has the picture's shape from the start of the run. */
export function shape(box: HTMLElement, head: Head | undefined, frame: Frame | undefined) {
  const [, , rows, columns] = frame?.size ?? [1, 1, 1, 1];
  const [width, height] = head?.width && head.height ? [head.width, head.height] : [columns, rows];
  box.style.setProperty("--sdw-shape", `${width} / ${height}`);
  box.style.setProperty("--sdw-wide", width >= height ? "100%" : "auto");
  box.style.setProperty("--sdw-high", width >= height ? "auto" : "100%");
}
