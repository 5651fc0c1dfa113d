// Play: paint on the latents, knock channels out, add noise, walk; the decoded image follows.

import { allow, button } from "../lib/button";
import { type Binary, bytes } from "../lib/bytes";
import { h, write } from "../lib/dom";
import { gridOf } from "./channel";
import { easel } from "./easel";
import { image } from "./image";
import { knobs } from "./knobs";
import type { MakePart, Message, What } from "./view";

/** The type of an image file, from its first byte: a PNG begins with 0x89, a JPEG with 0xff. */
export function kindOf(data: Binary): "png" | "jpeg" {
  return bytes(data)[0] === 0x89 ? "png" : "jpeg";
}

/** Lets the browser save an image as a file. */
function download(data: Binary, name: string) {
  const kind = kindOf(data);
  const url = URL.createObjectURL(new Blob([bytes(data).slice()], { type: `image/${kind}` }));
  h("a", { href: url, download: `${name}.${kind === "png" ? "png" : "jpg"}` }).click();
  setTimeout(() => URL.revokeObjectURL(url), 1000); // the browser has begun to read by then
}

export const play: MakePart = (view) => {
  const canvas = easel((edit) => view.send({ kind: "edit", edit }));
  const controls = knobs(view);
  const decoded = image("sdw-lab-big", "The image decoded from the edited latents");
  const quality = h("figcaption", { class: "sdw-lab-quiet" }, "");
  const list = h("ol", { class: "sdw-lab-edits", "aria-label": "Edits, in order" });
  const ask = (kind: Message["kind"]) => () => view.send({ kind });
  const undo = button("Undo", "Undo the last step (Ctrl-Z)", ask("undo"));
  const redo = button("Redo", "Redo it (Ctrl-Shift-Z)", ask("redo"));
  const reset = button("Reset", "Remove all edits", ask("reset"));
  const use = button("Use as a start…", "", ask("send"));
  const save = button("Save", "Save the image", () => {
    const now = view.data.edited;
    if (now !== undefined) download(now.data, `${view.data.picture?.name ?? "image"}-edited`);
  });

  function show() {
    const now = view.data.edited;
    allow(undo, (now?.undoable ?? 0) > 0);
    allow(redo, (now?.undone ?? 0) > 0);
    allow(reset, (now?.edits.length ?? 0) > 0);
    allow(save, now !== undefined);
    allowUse();
    if (now === undefined) return;
    controls.show(now);
    decoded.show(now.data);
    canvas.show(gridOf(now.latents, now));
    const edits = now.edits.map((words) => h("li", {}, words));
    const none = h("li", { class: "sdw-lab-none" }, "nothing yet");
    list.replaceChildren(...(edits.length > 0 ? edits : [none]));
    list.scrollTop = list.scrollHeight;
    write(quality, now.psnr === null ? "" : `decoded: ${now.psnr.toFixed(1)} dB from the original`);
  }

  function allowUse() {
    allow(use, view.data.can_send && view.data.edited !== undefined);
    use.title = view.data.can_send
      ? "Send this image to the Studio, for image to image"
      : "There is no Studio to send it to: sdw.Lab(studio=studio)";
  }

  const element = h(
    "div",
    { class: "sdw-lab-play" },
    canvas.element,
    h(
      "div",
      { class: "sdw-lab-column" },
      h("figure", {}, decoded.element, quality),
      h("div", { class: "sdw-lab-bar" }, undo, redo, reset, save, use),
      list,
    ),
    controls.element,
  );
  element.addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
    event.preventDefault();
    event.stopPropagation();
    view.send({ kind: event.shiftKey ? "redo" : "undo" });
  });

  return {
    element,
    update(what: ReadonlySet<What>) {
      if (what.has("edited")) show();
      else if (what.has("can_send")) allowUse();
    },
    remove: decoded.remove,
  };
};
