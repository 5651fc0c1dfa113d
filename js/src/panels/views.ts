// The buttons for what the stage shows of a step, and for the images of a batch.

import { choice, symbol } from "../lib/controls";
import { h, on, write } from "../lib/dom";
import type { Show } from "../lib/show";
import { batchOf, imageOf, type Panel } from "../lib/view";
import { onStage, type ViewName } from "./screen";

/** Buttons for what an image shows. */
export const viewChoice = (label: string, pick: (name: ViewName) => void) =>
  choice<ViewName>(
    label,
    [
      { value: "noisy", label: ["noisy ", symbol("x", "t")] },
      { value: "clean", label: ["clean so far ", symbol("x", "0")] },
      { value: "change", label: ["change ", symbol("Δx", "0")] },
      { value: "picture", label: ["image"], title: "The last step's latents, decoded" },
    ],
    pick,
  );

export function views(view: Show): Panel {
  const names = viewChoice("What the image shows", (value) =>
    view.select(value === "picture" ? { view: value, step: -1, guidance: null } : { view: value }),
  );
  const pager = pages(view);
  return {
    element: h("div", "sdw-v-bar", names.element, pager.element),
    update() {
      names.show(onStage(view));
      const there = view.pictures.length > 0 && view.own;
      names.allow("picture", view.state !== "running" && there);
      pager.update();
    },
  };
}

/** "1 of 4" with a button at each side; hidden for a single image. */
export function pages(view: Show): { element: HTMLElement; update(): void } {
  const text = h("span", { "aria-live": "polite" });
  const button = (words: string, sign: string, by: number) => {
    const made = h("button", { class: "sdw-button", "aria-label": words }, sign);
    on(made, "click", () => view.select({ picture: wrapped(by) }));
    return made;
  };
  const count = () => batchOf(view);
  const wrapped = (by: number) => (imageOf(view) + by + count()) % count();
  const element = h(
    "div",
    { class: "sdw-v-pages", role: "group", "aria-label": "Which image" },
    button("previous image", "‹", -1),
    text,
    button("next image", "›", 1),
  );
  return {
    element,
    update() {
      element.hidden = count() < 2;
      if (count() > 1) write(text, `${imageOf(view) + 1} of ${count()}`);
    },
  };
}
