// Cells that are added to an open notebook. They are not run.

import type { NotebookPanel } from "@jupyterlab/notebook";

/** The index of a cell below the active one. */
export const belowActive = ({ content }: NotebookPanel) => content.activeCellIndex + 1;

/** Inserts a cell, makes it the active one and scrolls to it; returns its id. */
export function insertCell(
  { content }: NotebookPanel,
  index: number,
  source: string,
): string | undefined {
  const cell = { cell_type: "code", source, metadata: { trusted: true } } as const;
  content.model?.sharedModel.insertCell(index, cell);
  content.deselectAll();
  content.activeCellIndex = index;
  content.mode = "command";
  content.node.focus();
  void content.scrollToItem(index, "smart");
  return content.activeCell?.model.id;
}
