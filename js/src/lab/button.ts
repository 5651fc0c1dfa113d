// A button with words, and one that is able or not without losing the focus.

import { h } from "../lib/dom";

export function button(words: string, title: string, click: () => void): HTMLButtonElement {
  const element = h("button", { type: "button", class: "sdw-button", title }, words);
  element.addEventListener("click", () => {
    if (element.getAttribute("aria-disabled") !== "true") click();
  });
  return element;
}

/** Not `disabled`: that would drop the focus, and the next keys would go to the notebook. */
export function allow(element: HTMLElement, able: boolean) {
  element.setAttribute("aria-disabled", String(!able));
}
