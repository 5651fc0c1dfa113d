// Small controls that several panels use.

import { aria, h, on } from "./dom";
import { roving } from "./keys";

/** A letter as in the papers, with an index: x with a small t. */
export function symbol(letter: string, index = ""): HTMLElement {
  const parts = index ? [h("i", {}, letter), h("sub", {}, index)] : [h("i", {}, letter)];
  return h("span", "sdw-symbol", ...parts);
}

export interface Choice<T extends string> {
  element: HTMLElement;
  show(value: T): void; // shows this value as pressed
  allow(value: T, allowed: boolean): void;
}

export interface Option<T extends string> {
  value: T;
  label: (Node | string)[];
  title?: string;
}

/** A row of buttons with one pressed. It is one tab stop, and arrows move within it. */
export function choice<T extends string>(
  label: string,
  options: Option<T>[],
  pick: (value: T) => void,
): Choice<T> {
  const element = h("div", { class: "sdw-choice", role: "toolbar", "aria-label": label });
  const oneTabStop = roving(element);
  const buttons = new Map<T, HTMLElement>();
  for (const { value, label: words, title } of options) {
    const attributes = { class: "sdw-button", "aria-pressed": "false" };
    const button = h("button", { ...attributes, tabindex: -1 }, ...words);
    button.dataset.value = value;
    if (title) button.title = title;
    on(button, "click", () => {
      // Not `disabled`: that would drop the focus, and the next keys would go to the notebook.
      if (button.getAttribute("aria-disabled") !== "true") pick(value);
    });
    buttons.set(value, button);
    element.append(button);
  }
  oneTabStop();
  return {
    element,
    show(value) {
      for (const [each, button] of buttons) {
        aria(button, "pressed", each === value);
      }
      oneTabStop(buttons.get(value));
    },
    allow(value, allowed) {
      buttons.get(value)?.setAttribute("aria-disabled", String(!allowed));
    },
  };
}
