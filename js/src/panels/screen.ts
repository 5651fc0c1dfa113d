// The image of a run at one step, with a heat map over it and the pointer's position.

import { addressOf } from "../lib/bytes";
import { changes } from "../lib/changes";
import { aria, h, on, vary } from "../lib/dom";
import { branchedAt } from "../lib/header";
import { change, clean, columnsFor, type Plane, paintGrid, preview, wipe } from "../lib/latents";
import { clamp } from "../lib/numbers";
import type { Frame } from "../lib/reel";
import type { Picture, Shape, Show } from "../lib/show";
import {
  allImages,
  guidanceOf,
  imageOf,
  type Panel,
  type Selection,
  type View,
  type What,
} from "../lib/view";
import { stepWords } from "./transport";

export type ViewName = Selection["view"];

const NAMES: Record<ViewName, string> = {
  noisy: "noisy latents",
  clean: "clean so far",
  change: "change since the step before",
  picture: "the image",
};

export interface Screen extends Panel {
  readonly note: string; // a remark to show beside the image
  put(layers: Layers): void; // replaces the layers
}

export interface Layers {
  over?: Panel; // a heat map, above the image
  all?: boolean; // every image of a batch, in a grid, instead of the chosen one
}

/** The view on the screen. The final image replaces the last step's clean latents. */
export function onStage(view: Show): ViewName {
  const { frames } = view.reel;
  const there = view.pictures.length > 0;
  if (frames.length === 0) return there ? "picture" : "clean"; // perhaps from the run before
  const chosen = view.selection.view;
  if (chosen !== "picture") return chosen;
  if (view.state === "running" || !there || !view.own) return "clean";
  const frame = view.reel.at(view.selection.step);
  if (frame !== frames.at(-1)) return "clean";
  return otherGuidance(view, frame) ? "clean" : "picture";
}

/** Whether the clean latents on show use another guidance scale than the run. */
function otherGuidance(view: Show, frame: Frame | undefined): boolean {
  return guidanceOf(view) !== null && frame?.guided === true;
}

/** The screen, in the shape of the image. */
export function screen(view: Show, layers: Layers = {}): Screen {
  const canvas = h("canvas", { class: "sdw-v-latents", role: "img", "aria-label": "no image" });
  const finals = finalImages();
  const box = h("div", "sdw-v-picture", canvas, finals.element);
  const hint = h("p", "sdw-v-hint", "The image appears here");
  const element = h("div", "sdw-v-stage", hint, box);
  let { over, all = false } = layers;
  let note = "";
  if (over) box.append(over.element);

  const point = (event: PointerEvent) => {
    if (!over || !view.reel.header?.layers.length) return;
    const area = box.getBoundingClientRect();
    const share = (at: number, from: number, size: number) =>
      clamp((at - from) / Math.max(size, 1), 0, 1);
    const x = share(event.clientX, area.left, area.width);
    const y = share(event.clientY, area.top, area.height);
    view.peek({ ...view.hover, cell: { x, y } });
  };
  const away = () => {
    const { word } = view.hover;
    view.peek(word === undefined ? {} : { word });
  };
  for (const name of ["pointermove", "pointerdown"] as const) on(box, name, point);
  // A finger that is lifted leaves, too: what it pointed at stays until it taps elsewhere.
  on(box, "pointerleave", (event) => event.pointerType === "touch" || away());
  for (const name of ["pointercancel", "focusout"] as const) on(box, name, away);

  const draw = () => {
    const { reel, selection } = view;
    const { header } = reel;
    const frame = reel.at(selection.step);
    const which = imageOf(view);
    const name = onStage(view);
    const shown = all ? view.pictures : view.pictures.slice(which, which + 1);
    finals.show(shown, name === "picture", (i) => header?.pictures[all ? i : which]?.prompt);
    setShape(box, shapeOf(view));
    element.dataset.show = !frame && shown.length === 0 ? "nothing" : name;
    const said = frame ? `${NAMES[name]}, ${stepWords(frame, header)}` : "no image yet";
    aria(canvas, "label", said);
    aria(canvas, "hidden", name === "picture"); // the image has words of its own
    if (!frame) wipe(canvas);
    const images = all ? allImages(view) : [which];
    note = frame ? paintFrame(canvas, view, frame, images, name) : "";
    if (note === "" && frame && frame.index > 0 && frame.index === branchedAt(header)) {
      note = "branched here";
    }
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
    put(others) {
      over?.element.remove();
      over?.remove?.();
      ({ over, all = false } = others);
      if (over) box.append(over.element);
      update("data");
    },
    remove() {
      finals.remove();
      over?.remove?.();
    },
  };
}

/** The final images in a grid. Each file is read once. */
function finalImages() {
  const element = h("div", "sdw-v-finals");
  const urls: string[] = [];
  const isNew = changes();
  const remove = () => {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  };
  return {
    element,
    remove,
    show(
      pictures: readonly Picture[],
      visible: boolean,
      promptOf: (i: number) => string | undefined,
    ) {
      if (isNew(...pictures.map(({ data }) => data))) {
        remove();
        vary(element, "columns", columnsFor(pictures.length));
        element.replaceChildren(
          ...pictures.map(({ data, type }) => {
            urls.push(addressOf(data, type));
            return h("img", { class: "sdw-v-final", src: urls.at(-1) as string });
          }),
        );
      }
      const images = [...element.children] as HTMLImageElement[];
      images.forEach((image, i) => {
        const words = pictures[i]?.label || promptOf(i) || "the image";
        image.alt = visible ? words : "";
      });
    },
  };
}

/** Draws one view of a step; returns the remark to show beside it. */
function paintFrame(
  canvas: HTMLCanvasElement,
  view: Show,
  frame: Frame,
  images: readonly number[],
  name: ViewName,
): string {
  const { reel, selection } = view;
  const factors = reel.header?.factors ?? [];
  const paint = (plane: (image: number) => Plane) => paintGrid(canvas, images.map(plane));
  if (name === "noisy") {
    const { x } = frame;
    if (x) paint((image) => preview(x, frame.size, image, factors));
    return "";
  }
  if (name === "change") {
    const last = reel.frames[reel.frames.indexOf(frame) - 1];
    const before = last?.size.join() === frame.size.join() ? last : undefined; // passes differ
    const [now, then] = [frame.denoised, before?.denoised ?? frame.denoised];
    if (!now || !then) return "";
    let gain = 1;
    paint((image) => {
      const plane = change(now, then, frame.size, image, factors);
      gain = plane.gain;
      return plane;
    });
    if (!before) return "the first step: nothing to compare";
    return `since step ${before.index}${gain > 1 ? `, shown ${gain} × as strong` : ""}`;
  }
  const latents = clean(frame, guidanceOf(view));
  if (latents) paint((image) => preview(latents, frame.size, image, factors));
  if (!otherGuidance(view, frame)) return "";
  const asRun = reel.header?.guidance_scale ?? 1;
  return `guidance ${selection.guidance?.toFixed(1)} instead of ${asRun.toFixed(1)}`;
}

/** Width and height of an image of this run. */
export function shapeOf({ shape, reel }: View & Pick<Show, "shape">): Shape {
  if (shape) return shape;
  const { header, frames } = reel;
  if (header?.width && header.height) return [header.width, header.height];
  const [, , rows, columns] = frames[0]?.size ?? [1, 1, 1, 1];
  return [columns, rows];
}

/** Sets the shape of what lies in the element; CSS makes it as large as fits. */
export function setShape(element: HTMLElement, [width, height]: Shape, name = "shape") {
  vary(element, name, `${width} / ${height}`);
}

/** Marks the root of a view with the state of its run, and with `more`, for styles and tests. */
export function markRun(root: HTMLElement, view: Show, more: Record<string, unknown> = {}) {
  const { reel, state, selection } = view;
  const data = {
    state,
    frames: reel.frames.length,
    step: reel.at(selection.step)?.index ?? -1,
    view: onStage(view),
    run: reel.header?.run ?? -1,
    ...more,
  };
  for (const [name, value] of Object.entries(data)) {
    if (root.dataset[name] !== String(value)) root.dataset[name] = String(value);
  }
}
