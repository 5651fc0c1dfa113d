// A slider that holds the value of one edit, as the kernel has it.

import { h, write } from "../lib/dom";
import { paced } from "./pace";
import type { EditJson, LabView } from "./view";

const HELD = 1000; // ms that it stays where it was released, while the kernel may be behind

/** What a slider sets: the edit without its value, the value's name, and the neutral value. */
export interface Setting {
  edit: EditJson;
  field: string;
  neutral: number;
}

/** The slider's value after these edits. */
export function standing(applied: readonly EditJson[], { edit, field, neutral }: Setting): number {
  const mine = (one: EditJson) =>
    Object.entries(edit).every(([name, value]) => one[name] === value);
  const value = applied.filter(mine).at(-1)?.[field];
  return typeof value === "number" ? value : neutral;
}

export interface Slider {
  readonly element: HTMLElement;
  show(applied: readonly EditJson[]): void;
}

export function slider(
  view: LabView,
  words: (Node | string)[],
  label: string,
  setting: Setting,
  range: { min: number; max: number; step: number },
): Slider {
  const { edit, field, neutral } = setting;
  const input = h("input", { type: "range", ...range, value: neutral, "aria-label": label });
  input.title = "Double-click to reset";
  const output = h("output", {}, "");
  const pace = paced((one) => view.send({ kind: "edit", edit: one }));
  let applied: readonly EditJson[] = []; // the kernel's newest
  let held = false; // it is being dragged, or the kernel may be behind
  let timer: ReturnType<typeof setTimeout> | undefined;
  const now = () => ({ ...edit, [field]: Number(input.value) });
  const stand = (value: number) => {
    input.value = String(value);
    say();
  };
  const follow = () => {
    if (!held) stand(standing(applied, setting));
  };
  const done = () => {
    pace.done(now());
    clearTimeout(timer);
    held = true;
    timer = setTimeout(() => {
      held = false;
      follow();
    }, HELD);
  };
  const say = () => write(output, Number(input.value).toFixed(2));
  input.addEventListener("input", () => {
    clearTimeout(timer);
    held = true;
    say();
    pace.live(now());
  });
  input.addEventListener("change", done);
  input.addEventListener("dblclick", () => {
    stand(neutral);
    done();
  });
  say();
  return {
    element: h("label", { class: "sdw-lab-slider" }, h("span", {}, ...words), input, output),
    show(now) {
      applied = now;
      follow();
    },
  };
}
