// The tools above the image, and what can be done to all of it.

import { PAINTER } from "../lib/contract";
import { choice } from "../lib/controls";
import { aria, h, on, write } from "../lib/dom";
import { clamp } from "../lib/numbers";
import { buttons, group, type MakeButton } from "./buttons";
import { icon } from "./icons";
import { hasBrush, TOOLS, type Tool, type Tools } from "./tools";

const WORDS: Record<Tool, [name: string, key: string]> = {
  brush: ["Brush", "b"],
  eraser: ["Eraser", "e"],
  rectangle: ["Rectangle", "r"],
  lasso: ["Lasso", "l"],
  fill: ["Fill", "f"],
  hand: ["Move", "h"],
};
const MOVE = "Move the image; so does a middle button, and so do two fingers";

export interface Bar {
  readonly element: HTMLElement;
  update(): void;
  /** A pen is there: offers what only a pen can do. */
  pen(): void;
  /** Does what a key is for; returns whether it is for anything. */
  key(event: KeyboardEvent): boolean;
}

export interface Commands {
  undo(): void;
  redo(): void;
  zoom(by: number): void;
  fit(): void;
}

interface State {
  tools: Tools;
  titles: Partial<Record<Tool, string>>; // what each tool does that is offered, but for "hand"
  masks: boolean; // whether edges can be soft, and shapes can erase
  more(button: MakeButton): HTMLElement[]; // between the history and the zoom
  keys: Record<string, () => void>; // what they are for, besides
  undos(): number;
  redos(): number;
  allowed(): boolean;
  percent(): string; // of the image's own size
  changed(): void; // the tools have
  say(words: string): void;
}

/** A slider with its name before it and its value, in words, behind it. */
export function slider(words: string, value: number, [min, max, step]: [number, number, number]) {
  const input = h("input", { type: "range", min, max, step, value });
  const said = h("output", {});
  return { input, said, element: h("label", "sdw-pt-slider", words, input, said) };
}

const STEP = 1.25; // of a zoom

export function bar(state: State, commands: Commands): Bar {
  const { tools } = state;
  const { button, update: updateButtons } = buttons(() => state.allowed());

  // ------------------------------------------------------------------------------- the tools

  const pick = (tool: Tool) => {
    tools.tool = tool;
    update();
    state.changed();
  };
  const offered = TOOLS.filter((tool) => tool === "hand" || state.titles[tool]);
  const picker = choice<Tool>(
    "Tool",
    offered.map((value) => {
      const [name, key] = WORDS[value];
      const title = state.titles[value] ?? MOVE;
      const label = h("span", "sdw-pt-word", name);
      return { value, label: [icon(value), label], title: `${title} (${key.toUpperCase()})` };
    }),
    pick,
  );

  // Sizes grow evenly: each step of the slider makes the brush so many times as large.
  const size = slider("size", 0, [0, 100, 1]);
  const most = PAINTER.brush;
  const sizeAt = (place: number) => Math.max(Math.round(most ** (place / 100)), 1);
  const placeOf = (pixels: number) => (100 * Math.log(pixels)) / Math.log(most);
  const setSize = (pixels: number) => {
    tools.size = clamp(Math.round(pixels), 1, most);
    update();
    state.changed();
  };
  on(size.input, "input", () => setSize(sizeAt(Number(size.input.value))));
  const soft = slider("soft edge", tools.soft * 100, [0, 100, 5]);
  on(soft.input, "input", () => {
    tools.soft = Number(soft.input.value) / 100;
    update();
  });
  const toggle = (words: string, title: string, name: "erase" | "pressure") => {
    const made = h("button", { class: "sdw-button", title, "aria-pressed": "false" }, words);
    on(made, "click", () => {
      tools[name] = !tools[name];
      update();
    });
    return made;
  };
  const erase = toggle("Erases", "Shapes and fills take paint away (X)", "erase");
  const pressure = toggle("Pressure", "A pen paints wider where it is pressed harder", "pressure");
  pressure.hidden = true;
  const options = h("div", "sdw-pt-options", size.element, soft.element, pressure, erase);

  // --------------------------------------------------------------------------- all of the plane

  const actions = h(
    "div",
    "sdw-pt-row",
    group(
      "Changes",
      button("Undo", "Undo (Z)", commands.undo, () => state.undos() > 0, "undo"),
      button("Redo", "Redo (Y)", commands.redo, () => state.redos() > 0, "redo"),
    ),
    ...state.more(button),
  );
  const percent = h("output", { class: "sdw-pt-percent", "aria-label": "Zoom" });
  const zoom = group(
    "Zoom",
    button("−", "Smaller (−); Ctrl and the wheel, or two fingers", () => commands.zoom(1 / STEP)),
    percent,
    button("+", "Larger (+)", () => commands.zoom(STEP)),
    button("Fit", "Show all of it (0)", commands.fit),
  );
  actions.append(zoom);
  const tooling = h("div", "sdw-pt-row", picker.element, options);
  const element = h("div", "sdw-pt-bar", tooling, actions);

  function update() {
    picker.show(tools.tool);
    const brushing = hasBrush(tools);
    size.element.hidden = !brushing;
    soft.element.hidden = !brushing || !state.masks;
    erase.hidden = brushing || tools.tool === "hand" || !state.masks;
    aria(erase, "pressed", tools.erase);
    aria(pressure, "pressed", tools.pressure);
    const place = placeOf(tools.size);
    if (sizeAt(Number(size.input.value)) !== tools.size) size.input.value = String(place);
    write(size.said, `${tools.size} px`);
    aria(size.input, "valuetext", `${tools.size} pixels`);
    write(soft.said, `${Math.round(tools.soft * 100)} %`);
    write(percent, state.percent());
    updateButtons();
  }

  const keys: Record<string, () => void> = {
    z: commands.undo,
    y: commands.redo,
    "+": () => commands.zoom(STEP),
    "=": () => commands.zoom(STEP),
    "-": () => commands.zoom(1 / STEP),
    "0": commands.fit,
    "[": () => setSize(Math.min(tools.size - 1, tools.size / STEP)),
    "]": () => setSize(Math.max(tools.size + 1, tools.size * STEP)),
    ...state.keys,
  };
  if (state.masks) {
    keys.x = () => {
      tools.erase = !tools.erase;
      update();
      state.say(tools.erase ? "Shapes erase" : "Shapes paint");
    };
  }
  for (const tool of offered) {
    const [name, key] = WORDS[tool];
    keys[key] = () => {
      pick(tool);
      state.say(name);
    };
  }
  return {
    element,
    update,
    pen() {
      pressure.hidden = false;
    },
    key({ key }) {
      const act = keys[key.length === 1 ? key.toLowerCase() : key];
      act?.();
      return act !== undefined;
    },
  };
}
