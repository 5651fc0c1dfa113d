// Buttons that do something only while they can.

import { aria, h, on } from "../lib/dom";
import { type Icon, icon } from "./icons";

/** Makes a button; it does something only while it is `able` to, and drawing is allowed. */
export type MakeButton = (
  words: string,
  title: string,
  act: () => void,
  able?: () => boolean,
  drawing?: Icon,
) => HTMLElement;

export function buttons(allowed: () => boolean): { button: MakeButton; update(): void } {
  const does: [HTMLElement, () => boolean][] = []; // buttons, and whether they do anything now
  return {
    button(words, title, act, able = () => true, drawing) {
      const content = drawing ? icon(drawing) : words;
      const made = h("button", { class: "sdw-button", title }, content);
      if (drawing) aria(made, "label", words);
      on(made, "click", () => {
        if (able() && allowed()) act();
      });
      does.push([made, able]);
      return made;
    },
    update() {
      for (const [each, able] of does) {
        aria(each, "disabled", !(able() && allowed()));
      }
    },
  };
}

/** Buttons that belong together. */
export const group = (words: string, ...children: HTMLElement[]) =>
  h("div", { class: "sdw-pt-group", role: "group", "aria-label": words }, ...children);
