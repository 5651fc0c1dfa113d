// Words to point at, pin and compare.

import { aria, h, on } from "../lib/dom";
import { sameWord } from "../lib/heat";
import { isShortcut, roving } from "../lib/keys";
import type { View } from "../lib/view";

export interface WordRow {
  element: HTMLElement;
  fill(key: string, make: () => Node[]): void; // does nothing if the key is unchanged
  mark(): void; // marks the pinned word, the second one and the one on show
}

/**
 * A row of buttons with `data-word`. Point or Tab looks at a word, a click pins it, Shift-click or
 * "b" adds a second word, Escape clears both. One tab stop; arrows, Home and End move.
 */
export function wordRow(view: View, label: string, name: string): WordRow {
  const element = h("div", { class: name, role: "toolbar", "aria-label": label, dir: "auto" });
  const oneTabStop = roving(element);
  let filled: string | undefined;

  const wordOf = (target: EventTarget | null) =>
    target instanceof Element
      ? target.closest<HTMLElement>("[data-word]")?.dataset.word
      : undefined;
  const peek = (word: string | undefined) => {
    const { cell } = view.hover;
    view.peek({ ...(word !== undefined && { word }), ...(cell && { cell }) });
  };

  on(element, "pointerover", (event) => peek(wordOf(event.target)));
  on(element, "pointerleave", () => peek(undefined));
  on(element, "focusin", (event) => {
    if (event.target instanceof Element && event.target.matches(":focus-visible")) {
      peek(wordOf(event.target));
    }
  });
  on(element, "focusout", () => peek(undefined));
  on(element, "click", (event) => {
    const word = wordOf(event.target);
    if (word === undefined) return;
    if (event.shiftKey) second(view, word);
    else pin(view, word);
  });
  on(element, "keydown", (event) => {
    if (isShortcut(event)) return;
    const word = wordOf(event.target);
    if (event.key === "Escape") {
      view.select({ word: "", other: "" });
      peek(undefined);
    } else if (event.key.toLowerCase() === "b" && word !== undefined) second(view, word);
    else return;
    event.preventDefault();
  });

  return {
    element,
    fill(key, make) {
      if (key === filled) return;
      filled = key;
      element.replaceChildren(...make());
      oneTabStop();
    },
    mark() {
      const { word, other } = view.selection;
      const shown = view.hover.word ?? word;
      let first: HTMLElement | undefined;
      for (const one of element.querySelectorAll<HTMLElement>("[data-word]")) {
        const own = one.dataset.word ?? "";
        const pinned = word !== "" && sameWord(own, word);
        aria(one, "pressed", pinned);
        one.toggleAttribute("data-second", other !== "" && sameWord(own, other));
        one.toggleAttribute("data-shown", shown !== "" && sameWord(own, shown));
        if (pinned) first ??= one;
      }
      if (first) oneTabStop(first);
    },
  };
}

/** A word or the text between two words. `quiet` marks words that are not in the prompt. */
export interface Part {
  text: string;
  word?: string; // as in Selection.word
  quiet?: boolean;
  title?: string;
}

export interface Chips {
  element: HTMLElement;
  fill(parts: Part[]): void;
  mark(): void;
}

/** Words laid out like a sentence. */
export function chips(view: View, label: string): Chips {
  const row = wordRow(view, label, "sdw-chips");
  const chip = ({ text, word, quiet = false, title }: Part) => {
    if (word === undefined) return h("span", "sdw-between", text);
    const button = wordButton(word, quiet ? "sdw-chip sdw-chip-quiet" : "sdw-chip", text);
    if (title) button.title = title;
    return button;
  };
  return {
    element: row.element,
    fill: (parts) => row.fill(JSON.stringify(parts), () => parts.map(chip)),
    mark: row.mark,
  };
}

/** A button of a word row. */
export function wordButton(word: string, name: string, ...inside: (Node | string)[]): HTMLElement {
  const attributes = { class: name, "aria-pressed": "false", tabindex: -1 };
  const button = h("button", attributes, ...inside);
  button.dataset.word = word;
  return button;
}

/** Pins a word, or unpins it. */
export function pin(view: View, word: string) {
  const same = sameWord(view.selection.word, word);
  view.select(
    same
      ? { word: view.selection.other, other: "" } // the second one is pinned instead
      : { word, ...(sameWord(view.selection.other, word) && { other: "" }) },
  );
}

/** Adds or removes a word as the second one. Without a pinned word, pins it. */
export function second(view: View, word: string) {
  const { word: first, other } = view.selection;
  if (first === "" || sameWord(first, word)) view.select({ word });
  else view.select({ other: sameWord(other, word) ? "" : word });
}

export const TITLES = {
  "<start>": "The token before every prompt; it takes the attention where no word matters",
  "<end>": "The token after the prompt",
  "<padding>": "The tokens that fill the remaining slots",
};

/** The three tokens that are no words. */
export function specialParts(): Part[] {
  return Object.entries(TITLES).map(([word, title]) => {
    return { text: word.slice(1, -1), word, quiet: true, title };
  });
}
