// Classes by name, each with its colour: a field to search in, and a list to choose from.

import { aria, h, on, vary, write } from "./dom";
import { isShortcut } from "./keys";
import { clamp } from "./numbers";
import { found } from "./search";
import "./palette.css";

export type RGB = readonly [red: number, green: number, blue: number];

/** The colour for CSS. */
export const css = ([red, green, blue]: RGB) => `rgb(${red} ${green} ${blue})`;

/** Black or white, whichever is easier to read on a colour: the relative luminance of WCAG 2. */
export function inkOn(colour: RGB): "#000" | "#fff" {
  const [red, green, blue] = colour.map((value) => {
    const share = value / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  }) as [number, number, number];
  // the luminance that is as far from black as from white
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue > 0.179 ? "#000" : "#fff";
}

export interface Palette {
  readonly element: HTMLElement;
  /** Shows these classes, with the one that is chosen. */
  show(names: readonly string[], colours: readonly RGB[], chosen: number): void;
  /** Puts the focus into the search. */
  search(): void;
}

let made = 0; // for ids

/** `pick` is called with the place of the class that a person chooses. */
export function palette(label: string, pick: (place: number) => void): Palette {
  const id = `sdw-palette-${++made}`;
  const field = h("input", {
    class: "sdw-palette-search",
    type: "text",
    role: "combobox",
    autocomplete: "off",
    spellcheck: "false",
    "aria-label": label,
    "aria-expanded": "true",
    "aria-controls": id,
    "aria-autocomplete": "list",
  });
  const list = h("div", { class: "sdw-palette-list", role: "listbox", id, "aria-label": label });
  const said = h("p", { class: "sdw-palette-said", role: "status" });
  const element = h("div", "sdw-palette", field, list, said);
  let names: readonly string[] = [];
  let colours: readonly RGB[] = [];
  let chosen = -1;
  let offered: number[] = [];
  let active = -1; // the place in `offered` that Enter takes

  const option = (place: number) => list.children[place] as HTMLElement | undefined;
  function mark() {
    offered.forEach((i, place) => {
      const each = option(place);
      if (!each) return;
      aria(each, "selected", i === chosen);
      each.toggleAttribute("data-active", place === active);
    });
    if (active < 0) field.removeAttribute("aria-activedescendant");
    else aria(field, "activedescendant", `${id}-${offered[active]}`);
    reveal(option(active < 0 ? offered.indexOf(chosen) : active));
  }
  /** Moves the list alone: the notebook must not move. */
  function reveal(each: HTMLElement | undefined) {
    if (!each) return;
    const { offsetTop: top, offsetHeight: height } = each;
    list.scrollTop = clamp(list.scrollTop, top + height - list.clientHeight, top);
  }
  function lay() {
    offered = found(names, field.value);
    list.replaceChildren(
      ...offered.map((i) => {
        const swatch = h("span", "sdw-swatch");
        vary(swatch, "colour", css(colours[i] ?? [128, 128, 128]));
        const each = h(
          "div",
          { class: "sdw-palette-class", role: "option", id: `${id}-${i}` },
          swatch,
          h("span", { dir: "auto" }, names[i] as string),
        );
        each.title = names[i] as string;
        on(each, "pointerdown", (event) => event.preventDefault()); // the focus stays
        on(each, "click", () => take(i));
        return each;
      }),
    );
    active = field.value.trim() === "" || offered.length === 0 ? -1 : 0;
    const count = offered.length;
    const some = count === 1 ? "1 class" : `${count} classes`;
    write(said, field.value.trim() === "" ? "" : count === 0 ? "No class has that name." : some);
    mark();
  }
  function take(i: number) {
    if (field.value !== "") {
      field.value = "";
      lay();
    }
    active = -1;
    pick(i);
    mark();
  }

  on(field, "input", lay);
  on(field, "keydown", (event) => {
    if (isShortcut(event) || event.isComposing) return;
    const here = active < 0 ? offered.indexOf(chosen) : active;
    const to = {
      ArrowDown: here + 1,
      ArrowUp: here - 1,
      PageDown: here + 8,
      PageUp: here - 8,
    }[event.key];
    if (to !== undefined && offered.length > 0) {
      active = clamp(to, 0, offered.length - 1);
      mark();
    } else if (event.key === "Enter") {
      const i = offered[active];
      if (i !== undefined) take(i);
    } else if (event.key === "Escape" && field.value !== "") {
      field.value = "";
      lay();
    } else return;
    event.preventDefault();
  });
  on(field, "blur", () => {
    active = -1;
    mark();
  });

  return {
    element,
    show(nextNames, nextColours, next) {
      const same = nextNames === names && nextColours === colours;
      if (same && next === chosen) return;
      [names, colours, chosen] = [nextNames, nextColours, next];
      field.placeholder = `Search ${names.length} classes`;
      if (same) mark();
      else lay();
    },
    search: () => field.focus(),
  };
}
