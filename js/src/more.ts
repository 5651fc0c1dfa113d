// The fields of the settings that most runs leave at their defaults, behind a button.

import type { Render } from "@anywidget/types";
import { quietly } from "./lib/choices";
import type { ASKS } from "./lib/contract";
import { aria, h, on } from "./lib/dom";
import "./more.css";

export interface Row {
  name: string;
  label: string;
  help: string;
  value: string; // empty: the default
  usual: string; // the default
  among: string[]; // all values of a choice; empty for a text
}

export interface Model {
  rows: Row[]; // of the settings that a run takes now
  wrong: string; // the name of the field that an error is about
  unfolded: boolean;
}

type Kind = (typeof ASKS)["more"][number];

interface Field {
  element: HTMLElement;
  input: HTMLInputElement | HTMLSelectElement;
  value: string; // as the kernel said it last: what is typed meanwhile stays
}

let made = 0; // for ids

const render: Render<Model> = ({ model, el }) => {
  const id = `sdw-more-${++made}`;
  const fold = h("button", { class: "sdw-more-fold", "aria-controls": id }, "More settings");
  const grid = h("div", { class: "sdw-more-grid", id });
  const fields = new Map<string, Field>();
  el.classList.add("sdw", "sdw-further");
  el.replaceChildren(fold, grid);
  on(fold, "click", () => {
    model.set("unfolded", !model.get("unfolded"));
    quietly(() => model.save_changes());
    show();
  });

  const set = (kind: Kind, name: string, value: string) =>
    quietly(() => model.send({ kind, name, value }));
  const field = ({ name, label, help, among }: Row): Field => {
    const input =
      among.length > 0
        ? h("select", {}, ...among.map((value) => h("option", { value }, value)))
        : h("input", { type: "text", autocomplete: "off", spellcheck: "false" });
    on(input, "change", () => set("set", name, input.value));
    const element = h("label", { class: `sdw-more-field sdw-more-${name}`, title: help }, label);
    element.append(input);
    return { element, input, value: "" };
  };

  function show() {
    const unfolded = model.get("unfolded");
    aria(fold, "expanded", unfolded);
    grid.hidden = !unfolded;
    const rows = model.get("rows") ?? [];
    const names = new Set(rows.map(({ name }) => name));
    for (const [name, { element }] of fields) {
      if (names.has(name)) continue;
      element.remove();
      fields.delete(name);
    }
    rows.forEach((row, place) => {
      const shown = fields.get(row.name) ?? field(row);
      fields.set(row.name, shown);
      const { element, input } = shown;
      if (row.value !== shown.value) input.value = shown.value = row.value;
      if (input instanceof HTMLInputElement) input.placeholder = row.usual;
      aria(input, "invalid", row.name === model.get("wrong"));
      if (grid.children[place] !== element) {
        grid.insertBefore(element, grid.children[place] ?? null);
      }
    });
  }
  show();
  model.on("change", show);
  return () => model.off("change", show);
};

export default { render };
