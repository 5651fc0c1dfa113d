// A quiet table of names and texts.

import { h } from "../../../src/lib/dom";

/** The rows; every text stays text, whatever it holds. */
export function table(rows: readonly (readonly [string, string])[]): HTMLElement {
  const list = h("dl", "sdw-doc-table");
  for (const [name, text] of rows) {
    list.append(h("div", {}, h("dt", {}, name), h("dd", { dir: "auto" }, text)));
  }
  return list;
}
