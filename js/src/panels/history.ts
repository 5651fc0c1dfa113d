// The strip of earlier results: small pictures that bring their settings back.

import { h } from "../lib/dom";
import { type Binary, bytes } from "../lib/frames";
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

/** A strip that keeps its height when empty; `onPick` gets the id of the entry chosen. */
export function strip(onPick: (id: number) => void): Strip {
  const row = h("div", { class: "sdw-history", role: "toolbar", "aria-label": "Earlier pictures" });
  const oneTabStop = roving(row);
  let shown: Entry[] = [];
  const urls: string[] = [];

  const forget = () => {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  };

  const button = (entry: Entry) => {
    const blob = new Blob([new Uint8Array(bytes(entry.thumbnail))], { type: "image/jpeg" });
    const url = URL.createObjectURL(blob);
    urls.push(url);
    const label = `${entry.prompt || "no prompt"}, seed ${entry.seed}: show it and load its settings`;
    const element = h(
      "button",
      { type: "button", class: "sdw-thumb", title: entry.title, "aria-label": label, tabindex: -1 },
      h("img", { src: url, alt: "" }),
    );
    element.dataset.id = String(entry.id);
    element.addEventListener("click", () => onPick(entry.id));
    return element;
  };

  const empty = h("p", { class: "sdw-hint" }, "Earlier pictures stay here");
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
        if (element.dataset.id === String(current)) element.setAttribute("aria-current", "true");
        else element.removeAttribute("aria-current");
      }
      oneTabStop(of(focused) ?? of(String(current)));
    },
    remove: forget,
  };
}
