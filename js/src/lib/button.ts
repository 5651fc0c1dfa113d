// A button with words; it keeps the focus when it is disabled.

import { h } from "./dom";

export function button(words: string, title: string, click: () => void): HTMLButtonElement {
  const element = h("button", { type: "button", class: "sdw-button", title }, words);
  element.addEventListener("click", () => {
    if (element.getAttribute("aria-disabled") !== "true") click();
  });
  return element;
}

/** Not `disabled`, which would drop the focus: the next keys would go to the notebook. */
export function allow(element: HTMLElement, able: boolean) {
  element.setAttribute("aria-disabled", String(!able));
}
