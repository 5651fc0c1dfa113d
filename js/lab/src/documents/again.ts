// The cell that makes a run again, for a notebook that a person chooses.

import { Dialog, showDialog } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { Widget } from "@lumino/widgets";
import { type Found, making, NoCell, relative } from "../../../src/lib/cell";
import { h } from "../../../src/lib/dom";
import type { Tools } from "./actions";
import { nameOf } from "./document";

/** A run that a file tells of. */
export interface Run {
  path: string; // of the file, with its drive
  made: unknown; // what the file says about the run
  found: Found; // where
}

/** What `offerCell` works with. */
export type CellTools = Pick<Tools, "app" | "manager" | "notebooks" | "trans">;

/** Shows the cell, and adds it to the notebook that a person chooses. It is not run. */
export async function offerCell(run: Run, tools: CellTools): Promise<void> {
  const { notebooks, trans } = tools;
  const current = notebooks?.currentWidget ?? null;
  const name = current ? nameOf(current.context.localPath) : "";
  const folder = run.path.split("/").slice(0, -1).join("/");
  let code: (notebook: string) => string;
  try {
    code = codeFor(run);
  } catch (error) {
    if (!(error instanceof NoCell)) throw error;
    const [title, body] = [trans.__("This run cannot be made again"), error.message];
    await showDialog({ title, body, buttons: [Dialog.okButton({ label: trans.__("Close") })] });
    return;
  }
  const here = current?.context.path ?? `${folder}/_.ipynb`;
  const where = trans.__("New Notebook");
  const { button } = await showDialog({
    title: trans.__("Make this run again"),
    body: new Code(code(here), trans.__("The cell is added, but not run.")),
    buttons: [
      Dialog.cancelButton(),
      ...(current ? [Dialog.createButton({ label: where, actions: ["new"] })] : []),
      current
        ? Dialog.okButton({ label: trans.__("Add to “%1”", name) })
        : Dialog.okButton({ label: where, actions: ["new"] }),
    ],
    defaultButton: current ? 2 : 1,
  });
  if (!button.accept) return;
  if (current && !button.actions.includes("new")) await insert(current, code(here), tools);
  else await create(folder, code, tools);
}

/** The text of the cell for a notebook at a path. Raises `NoCell`. */
function codeFor({ path, made, found }: Run) {
  const write = (notebook: string) => {
    const record = relative(notebook, path);
    return making(made, { ...found, ...(found.record && record ? { record } : {}) });
  };
  write(path);
  return write;
}

/** Adds the cell below the active one. */
async function insert(panel: NotebookPanel, source: string, { app }: CellTools) {
  const { content, context } = panel;
  await context.ready;
  const at = content.activeCellIndex + 1;
  content.model?.sharedModel.insertCell(at, { cell_type: "code", source, metadata: {} });
  content.activeCellIndex = at;
  app.shell.activateById(panel.id);
  const cell = content.widgets[at];
  if (cell) await content.scrollToCell(cell);
}

/** Makes a notebook with the cell beside the file. */
async function create(folder: string, code: (notebook: string) => string, { manager }: CellTools) {
  const { contents, kernelspecs } = manager.services;
  const { default: name, kernelspecs: specs } = kernelspecs.specs ?? {};
  const { display_name, language } = (name ? specs?.[name] : undefined) ?? {};
  const kernelspec = name && display_name ? { name, display_name, language } : undefined;
  const made = await contents.newUntitled({ path: folder, type: "notebook" });
  const cell = { cell_type: "code", source: code(made.path), metadata: {}, outputs: [] };
  const content = {
    nbformat: 4,
    nbformat_minor: 4,
    metadata: kernelspec ? { kernelspec } : {},
    cells: [{ ...cell, execution_count: null }],
  };
  await contents.save(made.path, { type: "notebook", format: "json", content });
  manager.openOrReveal(made.path);
}

/** The body of the dialog. */
class Code extends Widget {
  constructor(code: string, words: string) {
    super();
    this.addClass("sdw-doc-cell");
    this.node.append(h("pre", { tabindex: 0 }, code), h("p", {}, words));
  }
}
