// What can be done to a mask as a whole.

import { on, write } from "../lib/dom";
import { slider } from "./bar";
import { group, type MakeButton } from "./buttons";
import { feather } from "./feather";
import type { Plane } from "./plane";

interface Host {
  empty(): boolean; // whether nothing is painted
  change(words: string, make: (plane: Plane) => void): void;
}

export function whole({ empty, change }: Host) {
  const radius = slider("by", 8, [1, 64, 1]);
  const said = () => write(radius.said, `${radius.input.value} px`);
  on(radius.input, "input", said);
  said();
  const some = () => !empty();
  const invert = () =>
    change("Inverted", ({ data }) => {
      for (let i = 0; i < data.length; i++) data[i] = 255 - (data[i] as number);
    });
  const clear = () => change("Cleared", ({ data }) => void data.fill(0));
  return {
    buttons: (button: MakeButton) =>
      group(
        "The whole mask",
        button("Invert", "Exchange what is painted and what is not (I)", invert),
        button("Clear", "Paint nothing (Delete)", clear, some),
        button(
          "Feather",
          "Soften all edges of the mask",
          () => change("Feathered", (plane) => feather(plane, Number(radius.input.value))),
          some,
        ),
        radius.element,
      ),
    keys: { i: invert, Delete: clear, Backspace: clear },
  };
}
