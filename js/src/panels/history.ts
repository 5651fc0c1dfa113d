// The strip of earlier results: thumbnails that restore their settings.

import { addressOf, type Binary } from "../lib/bytes";
import { aria, h, on } from "../lib/dom";
import { roving } from "../lib/keys";

export interface Entry {
  id: number;
  prompt: string;
  seed: number;
  title: string; // the settings in words
  thumbnail: Binary; // JPEG
}

export interface Strip {
  element: HTMLElement;
  show(entries: Entry[], current: number): void;
  remove(): void;
}

/** A strip that keeps its height when empty. `onPick` gets the id of the chosen entry. */
export function strip(onPick: (id: number) => void): Strip {
  const row = h("div", { class: "sdw-history", role: "toolbar", "aria-label": "Earlier images" });
  const oneTabStop = roving(row);
  let shown: Entry[] = [];
  const urls: string[] = [];

  const forget = () => {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  };

  const button = (entry: Entry) => {
    const url = addressOf(entry.thumbnail, "image/jpeg");
    urls.push(url);
    const label = `${entry.prompt || "no prompt"}, seed ${entry.seed}: show it and load its settings`;
    const element = h(
      "button",
      { class: "sdw-thumb", title: entry.title, "aria-label": label, tabindex: -1 },
      h("img", { src: url, alt: "" }),
    );
    element.dataset.id = String(entry.id);
    on(element, "click", () => onPick(entry.id));
    return element;
  };

  const empty = h("p", "sdw-hint", "Earlier images stay here");
  row.append(empty);

  return {
    element: row,
    show(entries, current) {
      const same =
        entries.length === shown.length && entries.every((entry, i) => entry.id === shown[i]?.id);
      const of = (id: string | undefined) =>
        row.querySelector<HTMLElement>(`button[data-id="${id}"]`) ?? undefined;
      const focused = row.querySelector<HTMLElement>("button:focus")?.dataset.id;
      if (!same) {
        forget();
        row.replaceChildren(...(entries.length > 0 ? entries.map(button) : [empty]));
        shown = entries;
        row.scrollLeft = row.scrollWidth; // the newest is the last
        of(focused)?.focus();
      }
      for (const element of row.querySelectorAll("button")) {
        if (element.dataset.id === String(current)) aria(element, "current", "true");
        else element.removeAttribute("aria-current");
      }
      oneTabStop(of(focused) ?? of(String(current)));
    },
    remove: forget,
  };
}
