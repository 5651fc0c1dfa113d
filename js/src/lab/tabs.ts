// The panels for the active autoencoder, one at a time.

import { h, write } from "../lib/dom";
import { roving } from "../lib/keys";
import type { LabView, MakePart, Part, Selection, What } from "./view";

type Name = Selection["panel"];

const TITLES: Record<Name, string> = {
  latents: "Latents z",
  play: "Play",
  between: "Between two",
  noise: "Noise",
};
const NAMES = Object.keys(TITLES) as Name[];

/** Panels under tabs; each is made when it is first opened, and then told what it has missed. */
export function tabs(
  view: LabView,
  make: Record<Name, MakePart>,
  everything: ReadonlySet<What>,
): Part {
  const row = h("div", { class: "sdw-lab-tabs", role: "tablist", "aria-label": "Look into it" });
  const body = h("div", { class: "sdw-lab-panel", role: "tabpanel" });
  const parts = new Map<Name, { part: Part; missed: Set<What> }>();
  const buttons = new Map(
    NAMES.map((name) => {
      const button = h("button", { type: "button", role: "tab" }, TITLES[name]);
      button.dataset.name = name;
      button.addEventListener("click", () => view.select({ panel: name }));
      row.append(button);
      return [name, button] as const;
    }),
  );
  const oneTabStop = roving(row);
  const of = h("span", { class: "sdw-lab-quiet" }, "");
  return {
    element: h("div", {}, h("div", { class: "sdw-lab-bar" }, row, of), body),
    update(what) {
      const { panel, active } = view.selection;
      for (const { missed } of parts.values()) for (const one of what) missed.add(one);
      let shown = parts.get(panel);
      if (shown === undefined) {
        shown = { part: make[panel](view), missed: new Set(everything) };
        parts.set(panel, shown);
        body.append(shown.part.element);
      }
      for (const [name, { part }] of parts) part.element.hidden = name !== panel;
      shown.part.update(shown.missed);
      shown.missed = new Set();
      for (const [name, button] of buttons) {
        button.setAttribute("aria-selected", String(name === panel));
      }
      oneTabStop(buttons.get(panel));
      const other =
        view.selection.chosen.length > 1 ? "; click another above to look into that" : "";
      write(of, panel === "noise" || active === "" ? "" : `of ${active}${other}`);
      body.setAttribute("aria-label", TITLES[panel]);
    },
    remove() {
      for (const { part } of parts.values()) part.remove?.();
    },
  };
}
