// An image from a file's bytes.

import { type Binary, bytes } from "../lib/bytes";
import { h } from "../lib/dom";

export interface Shown {
  readonly element: HTMLImageElement;
  show(data: Binary | undefined): void; // undefined: the image shown before stays
  remove(): void;
}

/** An <img>; it shows the last image until the next has arrived, so that nothing flashes. */
export function image(name: string, words = ""): Shown {
  const element = h("img", { class: name, alt: words, draggable: "false" });
  let [shown, url]: [Binary | undefined, string] = [undefined, ""];
  const forget = () => {
    if (url) URL.revokeObjectURL(url);
    url = "";
  };
  return {
    element,
    show(data) {
      if (data === undefined || data === shown) return;
      forget();
      shown = data;
      url = URL.createObjectURL(new Blob([bytes(data).slice()])); // the browser reads the type from the bytes
      element.src = url;
    },
    remove: forget,
  };
}
