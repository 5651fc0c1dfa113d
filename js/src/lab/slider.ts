// A slider that is the state of one edit: what it stands at is what the kernel has of it.

import { h, write } from "../lib/dom";
import { paced } from "./pace";
import type { EditJson, LabView } from "./view";

const HELD = 1000; // ms after it was let go that it stays there, though the kernel is still behind

/** What a slider sets: the edit without its value, the value's name, and the value that changes nothing. */
export interface Setting {
  edit: EditJson;
  field: string;
  neutral: number;
}

/** What a slider stands at after these edits. */
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
  input.title = "Double-click: back to where it changes nothing";
  const output = h("output", {}, "");
  const pace = paced((one) => view.send({ kind: "edit", edit: one }));
  let applied: readonly EditJson[] = []; // of the kernel, last
  let held = false; // a hand is on it, or the kernel may still be behind
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
