// The images of a result as large as the window, in a dialog.

import { addressOf, type Binary } from "./bytes";
import { IMAGE_TYPES } from "./contract";
import { h, on, vary, write } from "./dom";
import { columnsFor } from "./latents";

interface Result {
  id: number;
  title: string;
  thumbnail: Binary; // JPEG, shown until the images come
}

/** A dialog in `root`. `use` is called with a result's id and the index of an image to start from. */
export function enlarged(root: HTMLElement, use: (id: number, index: number) => void) {
  const grid = h("div", "sdw-large-images");
  const title = h("p", "sdw-large-title");
  const shut = h("button", { class: "sdw-button" }, "Close");
  const dialog = h(
    "dialog",
    { class: "sdw-large", "aria-label": "Enlarged" },
    grid,
    h("div", "sdw-large-foot", title, shut),
  );
  const urls: string[] = [];
  let shown: number | undefined; // the id of the result

  const forget = () => {
    for (const url of urls.splice(0)) URL.revokeObjectURL(url);
  };
  const image = (data: unknown, type: string, alt: string) => {
    const src = addressOf(data, type);
    urls.push(src);
    return h("img", { src, alt });
  };
  on(shut, "click", () => dialog.close());
  on(dialog, "click", (event) => {
    if (event.target === dialog) dialog.close(); // beside the images
  });
  on(dialog, "close", () => {
    shown = undefined;
    grid.replaceChildren();
    forget();
    dialog.remove();
  });
  return {
    /** Shows the thumbnail of a result, large, until `fill` brings its images. */
    open(result: Result) {
      if (dialog.open) dialog.close();
      shown = result.id;
      vary(grid, "columns", 1);
      grid.replaceChildren(image(result.thumbnail, "image/jpeg", result.title));
      write(title, result.title);
      root.append(dialog);
      dialog.showModal();
    },
    /** Shows the images of a result, if it is still the one on show. */
    fill(id: unknown, images: readonly unknown[], buffers: readonly unknown[]) {
      if (id !== shown || shown === undefined) return;
      const known = shown;
      forget();
      vary(grid, "columns", columnsFor(images.length));
      grid.replaceChildren(
        ...images.map((words, i) => {
          const { type, label } = Object(words) as Record<string, unknown>;
          const kind = IMAGE_TYPES.find((one) => one === type) ?? "image/png";
          const start = h("button", { class: "sdw-button" }, "Start from it");
          on(start, "click", () => {
            use(known, i);
            dialog.close();
          });
          return h("figure", {}, image(buffers[i], kind, String(label ?? "")), start);
        }),
      );
    },
    remove() {
      forget();
      dialog.remove();
    },
  };
}
