// A class of the model: a field to search in, and the list of what is found.

import type { Render } from "@anywidget/types";
import { quietly } from "./lib/choices";
import { aria, h, on, write } from "./lib/dom";
import { isShortcut, keepKeys } from "./lib/keys";
import { clamp } from "./lib/numbers";
import { found } from "./lib/search";
import "./class_picker.css";

export interface Model {
  names: string[]; // of all classes
  name: string; // the chosen one; "" for none
  optional: boolean; // whether there may be none
}

/** What is offered: an index of a name, or no class. */
const NONE = -1;
const PAGE = 8; // options that Page Down passes

let made = 0; // for ids

const render: Render<Model> = ({ model, el }) => {
  const id = `sdw-class-${++made}`;
  const field = h("input", {
    class: "sdw-class-field",
    id: `${id}-field`,
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    "aria-autocomplete": "list",
    "aria-expanded": "false",
    "aria-controls": `${id}-list`,
  });
  const label = h("label", { for: field.id }, "class");
  const list = h("ul", {
    class: "sdw-class-list",
    id: `${id}-list`,
    role: "listbox",
    hidden: true,
  });
  aria(list, "label", "Classes of this model");
  const clear = h("button", { class: "sdw-class-clear", "aria-label": "No class" }, "×");
  clear.title = "No class: the model makes what it likes";
  const count = h("span", "sdw-class-count");
  const said = h("span", { class: "sdw-class-said", role: "status" });
  const box = h("div", "sdw-class-box", field, clear, list);
  el.classList.add("sdw", "sdw-class");
  el.replaceChildren(label, box, count, said);

  const names = () => model.get("names") ?? [];
  let offered: number[] = [];
  let at = -1; // of the offered one that Enter takes; -1 for none
  let typed = false; // since the last choice

  const close = () => {
    offered = [];
    at = -1;
    list.hidden = true;
    aria(field, "expanded", false);
    field.removeAttribute("aria-activedescendant");
    write(said, "");
  };
  /** Shows the choice in the field, in place of what was typed. */
  const show = () => {
    const name = model.get("name") ?? "";
    if (!typed) field.value = name;
    field.placeholder = model.get("optional") ? "no class" : "choose a class";
    clear.hidden = !model.get("optional") || (name === "" && field.value === "");
    const total = names().length;
    write(count, total === 1 ? "1 class" : `${total} classes`);
  };
  const take = (index: number) => {
    typed = false;
    close();
    if (index === NONE && !model.get("optional")) return show();
    const name = index === NONE ? "" : (names()[index] ?? "");
    if (name !== model.get("name")) {
      model.set("name", name);
      quietly(() => model.save_changes());
    }
    show();
  };
  /** Takes what is typed, if it finds something; else the choice stays. */
  const settle = () => {
    if (typed && field.value.trim() === "") take(NONE);
    else if (typed && offered[at] !== undefined) take(offered[at] as number);
    else if (typed) {
      typed = false;
      show();
    }
    close();
  };
  const mark = (next: number) => {
    list.children[at]?.setAttribute("aria-selected", "false");
    at = next;
    const option = list.children[at];
    if (!option) return field.removeAttribute("aria-activedescendant");
    aria(option, "selected", true);
    aria(field, "activedescendant", option.id);
    option.scrollIntoView?.({ block: "nearest" });
  };
  const option = (index: number, place: number) => {
    const made = h("li", { role: "option", id: `${id}-${place}`, "aria-selected": "false" });
    if (index === NONE) made.append(h("i", {}, "no class"));
    else
      made.append(
        h("span", { dir: "auto" }, names()[index] ?? ""),
        h("span", { class: "sdw-class-number", "aria-hidden": "true" }, String(index)),
      );
    on(made, "pointerdown", (event) => event.preventDefault()); // the focus stays in the field
    on(made, "click", () => take(index));
    return made;
  };
  /** Opens the list: what the text finds or, before anything is typed, every class. */
  const open = () => {
    const text = typed ? field.value : "";
    const indices = found(names(), text);
    const none = text.trim() === "" && model.get("optional");
    offered = none ? [NONE, ...indices] : indices;
    list.replaceChildren(...offered.map(option));
    list.hidden = offered.length === 0;
    aria(field, "expanded", !list.hidden);
    at = -1;
    const chosen = names().indexOf(model.get("name") ?? "");
    mark(text.trim() === "" ? (typed ? -1 : offered.indexOf(chosen)) : 0);
    const words = indices.length === 1 ? "1 class found" : `${indices.length} classes found`;
    write(said, text.trim() === "" ? "" : indices.length === 0 ? "No class of that name" : words);
    said.toggleAttribute("data-none", indices.length === 0);
  };

  on(field, "input", () => {
    typed = true;
    clear.hidden = !model.get("optional");
    open();
  });
  on(field, "focus", () => field.select());
  on(field, "click", () => list.hidden && open());
  on(field, "blur", settle);
  on(field, "change", settle); // the Studio asks for it before a run
  on(clear, "click", () => {
    field.value = "";
    take(NONE);
    field.focus();
  });
  on(field, "keydown", (event) => {
    if (event.isComposing || (isShortcut(event) && event.key !== "ArrowDown")) return;
    const { key } = event;
    const last = offered.length - 1;
    if (list.hidden) {
      if (key === "ArrowDown" || key === "ArrowUp") open();
      else if (key === "Escape" && typed) {
        typed = false;
        show();
      } else return;
    } else if (key === "ArrowDown") mark(at >= last ? 0 : at + 1);
    else if (key === "ArrowUp") mark(at <= 0 ? last : at - 1);
    else if (key === "PageDown") mark(clamp(at + PAGE, 0, last));
    else if (key === "PageUp") mark(clamp(at - PAGE, 0, last));
    else if (key === "Enter" && offered[at] !== undefined) take(offered[at] as number);
    else if (key === "Escape") {
      typed = false;
      close();
      show();
    } else return;
    event.preventDefault();
    event.stopPropagation();
  });

  show();
  model.on("change", show);
  const free = keepKeys(el);
  return () => {
    model.off("change", show);
    free();
  };
};

export default { render };
