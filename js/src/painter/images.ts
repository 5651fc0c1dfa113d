// The image that is drawn on: chosen, dropped or pasted here, and shown as the kernel has it.

import type { AnyModel } from "@anywidget/types";
import { addressOf, bytes, isPng } from "../lib/bytes";
import { PAINTER } from "../lib/contract";
import { h, on, write } from "../lib/dom";
import { opener, takeFiles } from "../lib/files";
import { LOST } from "../lib/kernel";
import type { Saying } from "../lib/saying";
import type { Paper } from "./traits";

interface Host {
  model: AnyModel<Paper>;
  root: HTMLElement; // takes what is dropped and pasted
  saying: Saying<"file" | "image">;
  taken(): void; // the kernel has taken a file, even if nothing has changed
  picture(url: string): void; // shows the image at this address
}

export interface Images {
  readonly choose: HTMLButtonElement;
  readonly input: HTMLElement;
  /** Shows the image that there is; `words` are those of the button for another. */
  update(words: string): void;
  remove(): void;
}

export function images({ model, root, saying, taken, picture }: Host): Images {
  const send = opener(saying.say, (message, data) => saying.ask("file", message, data));
  const open = (file: File) => {
    if (saying.lost) saying.say(LOST);
    else void send(file);
  };
  const input = h("input", { type: "file", accept: "image/*", hidden: true });
  on(input, "change", () => {
    const file = input.files?.[0];
    if (file) open(file);
    input.value = ""; // so that the same file can be opened again
  });
  const choose = h("button", "sdw-button");
  on(choose, "click", () => input.click());
  const forget = takeFiles(root, open);

  let url = "";
  let drawn: unknown;
  const draw = (data: unknown) => {
    URL.revokeObjectURL(url);
    const file = bytes(data);
    url = file.length > 0 ? addressOf(file, isPng(file) ? "image/png" : "image/jpeg") : "";
    picture(url);
  };
  const heard = (content: unknown, buffers: readonly unknown[] = []) => {
    const { kind, image } = Object(content) as { kind?: unknown; image?: unknown };
    if (kind === "image" && image === model.get("shown")) draw(buffers[0]); // at its own size
    if (kind === "taken") taken();
  };
  (model as AnyModel).on("msg:custom", heard);
  return {
    choose,
    input,
    update(words) {
      write(choose, words);
      if (model.get("picture") === drawn) return;
      drawn = model.get("picture");
      draw(drawn);
      // the trait is small: it is in every saved notebook
      const isSmaller = Math.max(model.get("width"), model.get("height")) > PAINTER.saved;
      if (url && isSmaller && !saying.lost) saying.ask("image");
    },
    remove() {
      (model as AnyModel).off("msg:custom", heard);
      forget();
      URL.revokeObjectURL(url);
    },
  };
}
