// The image as it forms: the stage, the numbers of the run, what is said about it; and, opened, what
// is inside. Opening moves nothing: panels take the place of the small pair, and come below.

import { h, write } from "../lib/dom";
import type { Kernel } from "../lib/kernel";
import { isActive, type Show } from "../lib/show";
import type { Panel, What } from "../lib/view";
import { numbers } from "./numbers";
import { pair } from "./pair";
import { said } from "./said";
import { onStage, screen, setShape, shapeOf } from "./screen";
import { stepWords, transport } from "./transport";

/** What is shown of the inside of a run. */
export interface Inside {
  over?: Panel; // above the image
  bar: Panel; // below the transport
  panels: readonly Panel[]; // the first beside the stage, the others below it
}

export interface Forming extends Panel {
  open(inside?: Inside): void; // undefined: close
}

export function forming(view: Show, kernel: Kernel): Forming {
  const picture = screen(view, { all: true });
  const moving = transport(view);
  const facts = numbers(view);
  const words = said(view, () => kernel.silence || stopWords(view, kernel));
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
  let others: Panel[] = []; // the pair or, opened, what is inside

  const update = (what: What) => {
    if (what !== "hover") {
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
  if (stopping === "unheard") return "Stopping when the cell has ended";
  if (view.state === "loading") return "Stopping once the model is loaded";
  return "Stopping after this step";
}

/** Put on the root what tests and styles look at. */
export function mark(root: HTMLElement, view: Show, kernel: Kernel) {
  const { reel, state, pictures } = view;
  const { length } = reel.frames;
  const shown = onStage(view) === "picture" ? "picture" : "preview";
  const data: Record<string, unknown> = {
    state,
    frames: state === "loading" ? 0 : length,
    step: reel.at(view.selection.step)?.index ?? -1,
    run: reel.header?.run ?? -1,
    view: onStage(view),
    show: length === 0 && pictures.length === 0 ? "nothing" : shown,
  };
  if (kernel.here !== "unknown") data.kernel = kernel.here;
  for (const [name, value] of Object.entries(data)) {
    if (root.dataset[name] !== String(value)) root.dataset[name] = String(value);
  }
}
