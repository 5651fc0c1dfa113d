// The forming image: the stage, the numbers of the run, its messages and, if open, its inside.
// Opening moves nothing: panels replace the small pair and appear below.

import { h, write } from "../lib/dom";
import type { Kernel } from "../lib/kernel";
import { isActive, type Show } from "../lib/show";
import { imageOf, type Panel, type What } from "../lib/view";
import { numbers } from "./numbers";
import { pair } from "./pair";
import { said } from "./said";
import { markRun, onStage, screen, setShape, shapeOf } from "./screen";
import { stepWords, transport } from "./transport";

/** The panels of a run's inside. */
export interface Inside {
  over?: Panel; // above the image
  bar: Panel; // below the transport
  panels: readonly Panel[]; // the first beside the stage, the others below it
}

export interface Forming extends Panel {
  open(inside?: Inside): void; // undefined closes it
}

export function forming(view: Show, kernel: Kernel): Forming {
  const picture = screen(view, { all: true });
  const moving = transport(view);
  const facts = numbers(view);
  let isOpen = false;
  // The images of an earlier run stay until this run has a step, and come back if it fails.
  const files = () => {
    if (!view.own && onStage(view) !== "picture") return [];
    const at = imageOf(view);
    return isOpen ? view.pictures.slice(at, at + 1) : view.pictures;
  };
  const words = said(view, () => kernel.silence || stopWords(view, kernel), files);
  const where = h("span", "sdw-v-where");
  const note = h("span", "sdw-v-note");
  const caption = h("p", { class: "sdw-v-caption", "aria-hidden": "true" }, where, note);
  const main = h("div", "sdw-v-main", picture.element, moving.element, caption);
  const beside = h("div", "sdw-beside");
  const below = h("div", "sdw-v-below");
  const element = h(
    "div",
    "sdw-v-body",
    main,
    h("div", "sdw-v-side", facts.element, words.element, beside),
    below,
  );
  const fixed = [picture, moving, facts, words];
  let others: Panel[] = []; // the pair or, if open, the inside

  const update = (what: What) => {
    if (what !== "hover") {
      view.lost = kernel.lost;
      if (!isActive(view)) kernel.stopped();
      setShape(element, shapeOf(view));
    }
    for (const panel of [...fixed, ...others]) panel.update(what);
    if (what === "hover") return;
    const frame = view.state === "loading" ? undefined : view.reel.at(view.selection.step);
    write(where, frame ? stepWords(frame, view.reel.header) : "");
    write(note, picture.note);
  };
  const open = (inside?: Inside) => {
    for (const panel of others) {
      panel.element.remove();
      panel.remove?.();
    }
    isOpen = inside !== undefined;
    const [first = pair(view), ...rest] = inside?.panels ?? [];
    others = [...(inside ? [inside.bar] : []), first, ...rest];
    if (inside) main.append(inside.bar.element);
    beside.append(first.element);
    below.append(...rest.map((panel) => panel.element));
    picture.put(inside?.over ? { over: inside.over } : { all: !inside });
    update("data");
  };
  open();
  return {
    element,
    update,
    open,
    remove() {
      for (const panel of [...fixed, ...others]) panel.remove?.();
    },
  };
}

function stopWords(view: Show, { stopping }: Kernel): string {
  if (stopping === undefined || !isActive(view)) return "";
  if (stopping === "unheard") return "Stopping once the cell has finished";
  if (view.state === "loading") return "Stopping once the model is loaded";
  return "Stopping after this step";
}

/** Marks the root with the state of the run and of the kernel, for styles and tests. */
export function mark(root: HTMLElement, view: Show, kernel: Kernel) {
  const loading = view.state === "loading";
  const { length } = view.reel.frames;
  const shown = onStage(view) === "picture" ? "picture" : "preview";
  markRun(root, view, {
    ...(loading && { frames: 0 }),
    show: length === 0 && view.pictures.length === 0 ? "nothing" : shown,
    ...(kernel.here !== "unknown" && { kernel: kernel.here }),
  });
}
