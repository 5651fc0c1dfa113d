// The inside of a run: its steps, words and noise, live and afterwards.

import type { Render } from "@anywidget/types";
import { h } from "./lib/dom";
import { keepKeys } from "./lib/keys";
import type { Show } from "./lib/show";
import { initialize, type Model, stores } from "./lib/store";
import type { What } from "./lib/view";
import { attention, heatOverlay } from "./panels/attention";
import { denoising } from "./panels/denoising";
import { markRun } from "./panels/screen";
import { stage } from "./panels/stage";
import { tokens } from "./panels/tokens";
import "./viewer.css";

const PANELS = { attention, denoising, tokens };
const ORDER = ["attention", "denoising", "tokens"] as const; // the first stands beside the stage

/** Draws a view into the root; returns the cleanup. */
export function show(root: HTMLElement, view: Show, names: readonly string[]): () => void {
  const main = stage(view, names.includes("attention") ? heatOverlay(view) : undefined);
  const panels = ORDER.filter((name) => names.includes(name)).map((name) => PANELS[name](view));
  const all = [main, ...panels];
  root.classList.add("sdw", "sdw-viewer");
  const [beside, ...below] = panels.map(({ element }) => element);
  root.replaceChildren(
    h(
      "div",
      "sdw-v-body",
      main.element,
      h("div", "sdw-v-side", ...(beside ? [beside] : [])),
      h("div", "sdw-v-below", ...below),
    ),
  );
  root.dataset.panels = names.join(" ");
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
  model.on("change:panels", again);
  return () => {
    model.off("change:panels", again);
    undo();
  };
};

export default { initialize, render };
