// The catalogue of autoencoders as buttons, one to four of them pressed.

import { MOST_AUTOENCODERS as MOST } from "../lib/contract";
import { h } from "../lib/dom";
import { roving } from "../lib/keys";

import type { Entry, LabView, Part } from "./view";

/** The chosen autoencoders after a press: it removes a chosen one, or adds one in place of the fourth. */
export function pressed(chosen: readonly string[], name: string): string[] {
  if (!chosen.includes(name)) return [...chosen.slice(0, MOST - 1), name];
  return chosen.length > 1 ? chosen.filter((one) => one !== name) : [...chosen];
}

export function chips(view: LabView): Part {
  const label = "Autoencoders side by side: one to four";
  const element = h("div", { class: "sdw-lab-chips", role: "toolbar", "aria-label": label });
  const oneTabStop = roving(element);

  const chip = (entry: Entry) => {
    const { name, kind, factor, channels, codes, ratio } = entry;
    const kept = codes > 0 ? `${codes.toLocaleString("en")} codes` : `${channels} channels`;
    const [of, own] = kind.split(" (model)");
    const button = h(
      "button",
      { type: "button", class: "sdw-lab-chip" },
      h("b", {}, name),
      ...(own === undefined ? [] : [h("i", {}, "of the model")]),
      h("span", {}, `f = ${factor} · ${of} · ${kept}`),
      h("span", {}, `${Number(ratio.toPrecision(3))}× fewer numbers`),
    );
    button.dataset.name = name;
    button.addEventListener("click", () => {
      view.select({ chosen: pressed(view.selection.chosen, name) });
    });
    return button;
  };
  const mark = () => {
    const { chosen } = view.selection;
    for (const one of element.children as HTMLCollectionOf<HTMLElement>) {
      const name = one.dataset.name ?? "";
      const isChosen = chosen.includes(name);
      const last = chosen.length >= MOST ? `Show it in place of ${chosen[MOST - 1]}` : "Show it";
      one.setAttribute("aria-pressed", String(isChosen));
      one.title = isChosen ? (chosen.length > 1 ? "Remove it" : "At least one stays") : last;
    }
  };
  return {
    element,
    update(what) {
      if (what.has("catalogue")) {
        element.replaceChildren(...view.data.catalogue.map(chip));
        oneTabStop();
      }
      if (what.has("catalogue") || what.has("chosen")) mark();
    },
  };
}
