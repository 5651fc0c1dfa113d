// The messages about the run, and the final image as a file.

import { addressOf } from "../lib/bytes";
import { aria, h, on, write } from "../lib/dom";
import type { Picture, Show } from "../lib/show";
import type { Panel, What } from "../lib/view";
import { fileName } from "../lib/words";

/**
 * `aside` returns a message that takes precedence over the run's own, or "". `files` returns the
 * images on show, which are downloaded.
 */
export function said(view: Show, aside: () => string, files: () => readonly Picture[]): Panel {
  const status = h("p", { class: "sdw-status", role: "status" });
  const error = h("p", { class: "sdw-error", role: "alert", dir: "auto" });
  const button = h("button", { class: "sdw-button sdw-download" }, "Download PNG");
  const element = h("div", "sdw-said-row", h("div", "sdw-words", status, error), button);
  const urls: string[] = []; // of the last download, which may still be going on
  const remove = () => {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  };
  on(button, "click", () => {
    remove();
    for (const { data, type, prompt, seed } of files()) {
      const href = addressOf(data, type);
      urls.push(href);
      h("a", { href, download: fileName(prompt ?? "", seed ?? undefined, type) }).click();
    }
  });
  const update = (what: What) => {
    if (what === "hover") return;
    const { state, message } = view;
    const pictures = files();
    write(status, state === "error" ? "" : aside() || message);
    write(error, state === "error" ? message : "");
    const whole = pictures.every((picture) => picture.type === "image/png");
    write(button, whole ? "Download PNG" : "Download JPEG");
    if (pictures.length === 0) button.title = "The run on show has no image";
    else if (whole) button.title = "The image, with its settings in the file";
    else button.title = "A smaller copy, without its settings";
    aria(button, "disabled", pictures.length === 0);
  };
  update("data");
  return { element, update, remove };
}
