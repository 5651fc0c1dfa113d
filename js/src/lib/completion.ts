// Known words offered while a word is typed into a field: arrows choose, Tab or Enter takes.

import { aria, h, on, write } from "./dom";
import { put } from "./field";
import { isShortcut } from "./keys";

const MOST = 8; // words offered at once

let made = 0; // for ids

/** The word before the caret, if the caret stands at its end; "" otherwise. */
export function typed({ value, selectionStart, selectionEnd }: HTMLTextAreaElement): string {
  if (selectionStart !== selectionEnd || /^[\p{L}\p{N}]/u.test(value.slice(selectionEnd)))
    return "";
  return /[\p{L}\p{N}]+$/u.exec(value.slice(0, selectionStart))?.[0] ?? "";
}

/** The words that begin with it, in their order; none if it is one of them, or a single letter. */
export function matches(words: readonly string[], start: string): string[] {
  const wanted = start.toLowerCase();
  if (wanted.length < 2 || words.includes(wanted)) return [];
  return [...new Set(words)].filter((word) => word.startsWith(wanted)).slice(0, MOST);
}

/** Offers `words` for a field, in a list at the start of `place`; returns the cleanup. */
export function completion(
  field: HTMLTextAreaElement,
  place: HTMLElement,
  words: () => readonly string[],
): () => void {
  const id = `sdw-completion-${++made}`;
  const list = h("ul", { class: "sdw-offered", role: "listbox", id, hidden: true });
  aria(list, "label", "Words this model knows");
  const said = h("span", { class: "sdw-unseen", role: "status" });
  place.prepend(list, said);
  let offered: string[] = [];
  let chosen = -1;

  const close = () => {
    offered = [];
    list.hidden = true;
    field.removeAttribute("aria-activedescendant");
    write(said, "");
  };
  const take = (word: string) => {
    const end = field.selectionStart;
    const start = end - typed(field).length;
    const space = /^\s/.test(field.value.slice(end)) ? "" : " ";
    close();
    put(field, start, end, word + space);
    close(); // the word itself was typed just now
  };
  const choose = (index: number) => {
    chosen = index;
    [...list.children].forEach((option, i) => {
      aria(option, "selected", i === chosen);
    });
    aria(field, "activedescendant", `${id}-${chosen}`);
  };
  const offer = () => {
    if (document.activeElement !== field) return close(); // nobody types: a button put text in
    offered = matches(words(), typed(field));
    if (offered.length === 0) return close();
    list.replaceChildren(
      ...offered.map((word, i) => {
        const option = h(
          "li",
          { role: "option", id: `${id}-${i}`, "aria-selected": "false" },
          word,
        );
        on(option, "pointerdown", (event) => {
          event.preventDefault(); // the focus stays in the field
          take(word);
        });
        return option;
      }),
    );
    chosen = -1;
    field.removeAttribute("aria-activedescendant");
    list.hidden = false;
    write(said, `${offered.length === 1 ? "1 word" : `${offered.length} words`} offered`);
  };

  const keys = (event: KeyboardEvent) => {
    if (list.hidden || isShortcut(event) || event.shiftKey || event.isComposing) return;
    const { key } = event;
    const count = offered.length;
    if (key === "ArrowDown") choose((chosen + 1) % count);
    else if (key === "ArrowUp") choose((Math.max(chosen, 0) - 1 + count) % count);
    else if (key === "Escape") close();
    else if ((key === "Enter" || key === "Tab") && chosen >= 0) take(offered[chosen] as string);
    else return;
    event.preventDefault();
    event.stopPropagation();
  };
  aria(field, "autocomplete", "list");
  aria(field, "controls", id);
  const off = new AbortController();
  const options = { signal: off.signal };
  field.addEventListener("input", offer, options);
  field.addEventListener("keydown", keys, { ...options, capture: true });
  field.addEventListener("blur", close, options);
  return () => {
    off.abort();
    close();
    list.remove();
    said.remove();
    for (const name of ["autocomplete", "controls"]) field.removeAttribute(`aria-${name}`);
  };
}
