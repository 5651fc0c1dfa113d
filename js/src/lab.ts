// The autoencoder lab: an image through autoencoders, side by side, and edits of its latents.

import type { Initialize, Render } from "@anywidget/types";
import { between } from "./lab/between";
import { chips } from "./lab/chips";
import { comparison } from "./lab/comparison";
import { latents } from "./lab/latents";
import { noise } from "./lab/noise";
import { play } from "./lab/play";
import { sources } from "./lab/sources";
import { type Model, type Store, stores } from "./lab/store";
import { tabs } from "./lab/tabs";
import { NAMES } from "./lab/traits";
import type { What } from "./lab/view";
import { h, write } from "./lib/dom";
import { takeFiles } from "./lib/files";
import { LOST, onConnection } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import "./lab.css";

const EVERYTHING: ReadonlySet<What> = new Set([
  ...NAMES,
  ...(["chosen", "active", "panel", "side", "view", "here"] as const),
]);

const PANELS = { latents, play, between, noise };

/** Draws the lab into the root; returns the cleanup. */
export function show(root: HTMLElement, view: Store): () => void {
  const status = h("p", { class: "sdw-lab-status", role: "status", dir: "auto" });
  const error = h("p", { class: "sdw-lab-wrong", role: "alert", dir: "auto" });
  const from = sources(view);
  const parts = [from, chips(view), comparison(view), tabs(view, PANELS, EVERYTHING)];
  from.element.append(h("div", { class: "sdw-lab-message" }, status, error));
  root.classList.add("sdw", "sdw-lab");
  root.tabIndex = -1; // a click anywhere in it brings the focus, so that one can paste
  root.replaceChildren(...parts.map((part) => part.element));

  /** What the kernel says; work whose kernel is gone does not go on. */
  const now = () => {
    const { state, message } = view.data;
    return view.lost && state === "working" ? { state: "idle", message: LOST } : { state, message };
  };
  const say = () => {
    const { state, message } = now();
    const wrong = view.said ? view.wrong : state === "error";
    const words = view.said || (state === "working" ? message || "Working" : message);
    write(status, wrong ? "" : words);
    write(error, wrong ? words : "");
  };
  const update = (what: ReadonlySet<What>) => {
    for (const part of parts) part.update(what);
    if (what.has("state") || what.has("message")) say();
    const { selection } = view;
    root.dataset.state = now().state;
    root.dataset.panel = selection.panel;
    root.dataset.active = selection.active;
  };
  update(EVERYTHING);
  const undo = [view.onChange(update), keepKeys(root), takeFiles(root, (file) => view.open(file))];
  return () => {
    for (const each of undo) each();
    for (const part of parts) part.remove?.();
  };
}

const initialize: Initialize<Model> = ({ model }) => {
  stores.of(model);
  return () => stores.forget(model);
};

const render: Render<Model> = ({ model, el }) => {
  const view = stores.of(model);
  const undo = show(el, view);
  const leave = onConnection(model, (lost) => {
    view.lost = lost;
  });
  return () => {
    leave();
    undo();
  };
};

export default { initialize, render };
