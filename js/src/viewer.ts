// The inside of a run: its steps, words and noise, live and afterwards. The tokens of a prompt need
// no image: alone, they stand without the stage.

import type { Render } from "@anywidget/types";
import { h, write } from "./lib/dom";
import { onConnection } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import type { Show } from "./lib/show";
import { initialize, type Model, stores } from "./lib/store";
import type { Panel, What } from "./lib/view";
import { attention, heatOverlay } from "./panels/attention";
import { control } from "./panels/control";
import { denoising } from "./panels/denoising";
import { markRun } from "./panels/screen";
import { stage } from "./panels/stage";
import { tokens } from "./panels/tokens";
import { pages } from "./panels/views";
import "./viewer.css";

const PANELS = { attention, denoising, tokens, control };
const ORDER = ["attention", "denoising", "tokens", "control"] as const; // the first stands beside the stage

/** What is wrong with a run, and the buttons for the images of a batch. */
function plain(view: Show): Panel {
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  const pager = pages(view);
  return {
    element: h("div", "sdw-v-plain", error, pager.element),
    update() {
      write(error, view.state === "error" ? view.message : "");
      pager.update();
    },
  };
}

/** Draws a view into the root; returns the cleanup. */
export function show(root: HTMLElement, view: Show, names: readonly string[]): () => void {
  const alone = names.join() === "tokens";
  const over = names.includes("attention") ? heatOverlay(view) : undefined;
  const main = alone ? plain(view) : stage(view, over);
  const panels = ORDER.filter((name) => names.includes(name)).map((name) => PANELS[name](view));
  const all = [main, ...panels];
  root.classList.add("sdw", "sdw-viewer");
  const elements = panels.map(({ element }) => element);
  const beside = alone ? [] : elements.splice(0, 1);
  root.replaceChildren(
    h(
      "div",
      "sdw-v-body",
      main.element,
      h("div", "sdw-v-side", ...beside),
      h("div", "sdw-v-below", ...elements),
    ),
  );
  root.dataset.panels = names.join(" ");
  for (const panel of all) panel.update("data");
  markRun(root, view);
  const update = (what: What) => {
    for (const panel of all) panel.update(what);
    markRun(root, view);
  };
  const undo = [view.onChange(update), keepKeys(root)];
  return () => {
    for (const each of undo) each();
    for (const panel of all) panel.remove?.();
  };
}

const render: Render<Model> = ({ model, el }) => {
  const view = stores.of(model);
  let undo = show(el, view, model.get("panels") ?? []);
  const again = () => {
    undo();
    undo = show(el, view, model.get("panels") ?? []);
  };
  // A run that was saved, or whose kernel has ended, in the middle.
  const leave = onConnection(model, (lost) => {
    view.lost = lost;
  });
  model.on("change:panels", again);
  return () => {
    leave();
    model.off("change:panels", again);
    undo();
  };
};

export default { initialize, render };
