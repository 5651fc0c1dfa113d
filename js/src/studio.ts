// The Studio's stage, and what the ipywidgets around it cannot do themselves.

import type { Render } from "@anywidget/types";
import { aria } from "./lib/dom";
import { Kernel } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { whenPlaced } from "./lib/placed";
import { isActive, type Show } from "./lib/show";
import { initialize, type Model as Reel, stores } from "./lib/store";
import type { What } from "./lib/view";
import { attention, heatOverlay } from "./panels/attention";
import { denoising } from "./panels/denoising";
import { forming, type Inside, mark } from "./panels/forming";
import { tokens } from "./panels/tokens";
import { views } from "./panels/views";
import "./studio.css";

export interface Model extends Reel {
  panels: string[]; // [] while closed
}

const PANELS = { attention, denoising, tokens };
const ORDER = ["attention", "denoising", "tokens"] as const; // the first stands beside the stage

function insideOf(view: Show, names: readonly string[]): Inside | undefined {
  const panels = ORDER.filter((name) => names.includes(name)).map((name) => PANELS[name](view));
  if (panels.length === 0) return undefined;
  const over = names.includes("attention") ? { over: heatOverlay(view) } : {};
  return { ...over, bar: views(view), panels };
}

/**
 * Adds to the ipywidgets around the stage what they lack for keys and screen readers. Returns
 * `mark`, which marks them with the state of the run, and `remove`.
 */
function surroundings(root: HTMLElement, kernel: Kernel, view: Show) {
  const all = (selector: string) => root.querySelectorAll(selector);
  const stop = root.querySelector(".sdw-stop");
  const ask = () => {
    if (isActive(view)) kernel.askToStop();
  };
  stop?.addEventListener("click", ask);

  /** Describes to screen readers what classes only show. */
  const describe = () => {
    for (const fold of all(".sdw-more, .sdw-look")) {
      aria(fold, "expanded", fold.classList.contains("mod-active"));
    }
    for (const toggle of all(".sdw-live")) {
      aria(toggle, "pressed", toggle.classList.contains("mod-active"));
    }
    for (const field of all(".sdw-row :is(input, textarea, select)")) {
      aria(field, "invalid", field.closest(".sdw-wrong") !== null);
    }
    for (const bare of all(".sdw-guide :is([role=slider], input[type=color])")) {
      const label = bare.closest(".sdw-guide > *")?.querySelector(".widget-label")?.textContent;
      if (label) aria(bare, "label", label);
    }
  };
  const changed = new MutationObserver(describe);
  changed.observe(root, { subtree: true, attributeFilter: ["class"] });
  describe();
  const undo = [
    keepKeys(root, () => generate(kernel)),
    () => stop?.removeEventListener("click", ask),
    () => changed.disconnect(),
  ];
  return {
    mark() {
      root.dataset.state = view.state;
      // Not `disabled`: that would drop the focus, and the next keys would go to the notebook.
      for (const button of all(".sdw-generate, .sdw-stop")) {
        const idle = button.classList.contains("sdw-stop") !== isActive(view);
        aria(button, "disabled", idle || kernel.lost);
      }
    },
    remove() {
      for (const each of undo) each();
    },
  };
}

function generate(kernel: Kernel) {
  // A field sends its value to the kernel on a change event, normally when it loses the focus.
  const field = document.activeElement?.closest("input, textarea");
  field?.dispatchEvent(new Event("change", { bubbles: true }));
  kernel.send({ kind: "generate" });
}

const render: Render<Model> = ({ model, el }) => {
  const view = stores.of(model);
  const kernel = new Kernel(model, () => update("data"));
  const shown = forming(view, kernel);
  let around: ReturnType<typeof surroundings> | undefined;
  el.classList.add("sdw", "sdw-picture");
  el.replaceChildren(shown.element);

  const update = (what: What) => {
    shown.update(what);
    mark(el, view, kernel);
    around?.mark();
  };
  const open = () => {
    const names = model.get("panels") ?? [];
    el.dataset.panels = names.join(" ");
    shown.open(insideOf(view, names));
  };
  const arrived = whenPlaced(el, (root) => {
    around = surroundings(root, kernel, view);
    around.mark();
  });

  open();
  update("data");
  model.on("change:panels", open);
  const undo = [
    () => model.off("change:panels", open),
    view.onChange(update),
    keepKeys(el),
    arrived,
    () => around?.remove(),
    () => shown.remove?.(),
    () => kernel.remove(),
  ];
  return () => {
    for (const each of undo) each();
  };
};

export default { initialize, render };
