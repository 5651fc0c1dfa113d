// The built viewers of recorded runs: documents draw with them, and exported pages hold their text.
// So the extension has them as two files, once, and no chunk of it has their code.

import styleAt from "-!../../../../sdwidgets/widgets/static/standalone.css?file";
import scriptAt from "-!../../../../sdwidgets/widgets/static/standalone.js?file";
import { h } from "../../../src/lib/dom";
import type { Built } from "../../../src/record/page";

type Viewers = typeof import("../../../src/standalone");

let styles: Promise<unknown> | undefined;

/** The viewers; their styles are in the page then. */
export async function viewers(): Promise<Viewers> {
  styles ??= styled();
  const script: Promise<Viewers> = import(/* webpackIgnore: true */ scriptAt);
  await styles.catch((error) => {
    styles = undefined; // another try may succeed
    throw error;
  });
  return script;
}

/** Their text. */
export async function built(): Promise<Built> {
  const [script, style] = await Promise.all([scriptAt, styleAt].map(textAt));
  return { script, style } as Built;
}

function styled() {
  const link = h("link", { rel: "stylesheet", href: styleAt });
  return new Promise((resolve, reject) => {
    link.onload = resolve;
    link.onerror = () => {
      link.remove();
      reject(new Error(`${styleAt} cannot be loaded.`));
    };
    document.head.append(link);
  });
}

async function textAt(address: string) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address} cannot be loaded: ${answer.status}.`);
  return answer.text();
}
