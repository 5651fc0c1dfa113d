// The viewers without a kernel: an exported page shows them from its own data, and JupyterLab's
// extension over its reader of recorded runs.

import compare from "./compare";
import { EXPORTED } from "./lib/contract";
import { h } from "./lib/dom";
import { hostModel, type State } from "./lib/host";
import viewer from "./viewer";
import "./standalone.css";

export { compare, viewer };

interface Widget {
  initialize?(props: object): unknown;
  render(props: object): unknown;
}

const WIDGETS = { viewer, compare } as unknown as Record<string, Widget>;

function decoded(base64: string): Uint8Array {
  return Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
}

/** The value with every {"$bytes": base64} in it decoded. */
export function withBytes(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(withBytes);
  if (typeof value !== "object" || value === null) return value;
  if (EXPORTED.bytes in value) return decoded(String(value[EXPORTED.bytes]));
  return Object.fromEntries(Object.entries(value).map(([name, one]) => [name, withBytes(one)]));
}

/** Draws every widget whose data is in the page into its main element. */
export function start(page: Document) {
  const main = page.querySelector(`main#${EXPORTED.root}`);
  for (const data of page.querySelectorAll(
    `script[type="application/json"][id="${EXPORTED.data}"]`,
  )) {
    const { widget, state } = JSON.parse(data.textContent ?? "") as {
      widget: string;
      state: State;
    };
    const found = Object.hasOwn(WIDGETS, widget) ? WIDGETS[widget] : undefined;
    if (found === undefined || main === null) continue;
    const model = hostModel(withBytes(state) as State);
    const el = h("div");
    main.append(el);
    found.initialize?.({ model });
    found.render({ model, el });
  }
}

start(document);
