// Where in the page something can be dropped, and how the page shows it.

import type { INotebookTracker, NotebookPanel } from "@jupyterlab/notebook";

export type Place =
  | { kind: "widget"; root: HTMLElement }
  | { kind: "notebook"; panel: NotebookPanel; index: number; cell: HTMLElement | undefined };

const EDGE = 24; // pixels at the left and right where JupyterLab splits its main area
const BEFORE = "jp-mod-dropTarget"; // JupyterLab's own for cells
const AFTER = "sdw-mod-dropEnd";
const OVER = "data-dropping";

/** The widget or the notebook at an element. */
export function placeAt(event: MouseEvent, notebooks: INotebookTracker | null): Place | undefined {
  const { target } = event;
  if (!(target instanceof Element)) return undefined;
  const root = target.closest<HTMLElement>("[data-takes]");
  if (root !== null) return { kind: "widget", root };
  const node = target.closest(".jp-Notebook");
  const panel = notebooks?.find(({ content }) => content.node === node);
  if (node === null || panel === undefined || !takesCode(panel)) return undefined;
  const { left, right } = node.getBoundingClientRect();
  if (event.clientX < left + EDGE || event.clientX > right - EDGE) return undefined;
  const cells = panel.content.widgets;
  const index = cells.findIndex((cell) => cell.node.contains(target));
  const cell = cells[index < 0 ? cells.length - 1 : index]?.node;
  return { kind: "notebook", panel, index: index < 0 ? cells.length : index, cell };
}

/** Whether cells of Python can be added. */
function takesCode({ content }: NotebookPanel): boolean {
  const { model } = content;
  const language = model?.defaultKernelLanguage ?? "";
  return model !== null && !model.readOnly && (language === "" || /^i?python/i.test(language));
}

/** Whether JupyterLab takes images there itself: it attaches them to the text. */
export function attaches(place: Place): boolean {
  const names = ["jp-MarkdownCell", "jp-RawCell"];
  return (
    place.kind === "notebook" &&
    place.index < place.panel.content.widgets.length &&
    names.some((name) => place.cell?.classList.contains(name))
  );
}

/** Shows where a drop would go; returns what removes that. */
export function mark(place: Place): () => void {
  if (place.kind === "widget") {
    place.root.setAttribute(OVER, "");
    return () => place.root.removeAttribute(OVER);
  }
  const { panel, index, cell } = place;
  const name = index < panel.content.widgets.length ? BEFORE : AFTER;
  cell?.classList.add(name);
  return () => cell?.classList.remove(name);
}
