// The cell that makes a run again, for a notebook that a person chooses.

import { Dialog, showDialog, showErrorMessage } from "@jupyterlab/apputils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { Widget } from "@lumino/widgets";
import { type Found, making, NoCell, relative } from "../../../src/lib/cell";
import { h } from "../../../src/lib/dom";
import { belowActive, insertCell } from "../inserting";
import { NotMade, newNotebook } from "../new_notebooks";
import { openNotebook } from "../opening";
import { folderOf, inFolder, nameOf } from "../paths";
import type { Tools } from "./actions";

const NEW = "Run"; // the name of a new notebook

/** A run that a file tells of. */
export interface Run {
  path: string; // of the file, with its drive
  made: unknown; // what the file says about the run
  found: Found; // where
}

/** What `offerCell` works with. */
export type CellTools = Pick<Tools, "app" | "notebooks" | "trans">;

/** Shows the cell, and adds it to the notebook that a person chooses. It is not run. */
export async function offerCell(run: Run, tools: CellTools): Promise<void> {
  const { notebooks, trans } = tools;
  const current = notebooks?.currentWidget ?? null;
  const name = current ? nameOf(current.context.localPath) : "";
  let code: (notebook: string) => string;
  try {
    code = codeFor(run);
  } catch (error) {
    if (!(error instanceof NoCell)) throw error;
    const [title, body] = [trans.__("This run cannot be made again"), error.message];
    await showDialog({ title, body, buttons: [Dialog.okButton({ label: trans.__("Close") })] });
    return;
  }
  const here = current?.context.path ?? inFolder(folderOf(run.path), `${NEW}.ipynb`);
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
  else await create(run, code, tools);
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
  await panel.context.ready;
  insertCell(panel, belowActive(panel), source);
  app.shell.activateById(panel.id);
}

/** Makes a notebook with the cell beside the file. */
async function create(run: Run, code: (notebook: string) => string, { app, trans }: CellTools) {
  try {
    const path = await newNotebook(app.serviceManager, folderOf(run.path), NEW, code, trans);
    await openNotebook(app, path, trans);
  } catch (error) {
    if (!(error instanceof NotMade)) throw error;
    await showErrorMessage(error.title, error.message);
  }
}

/** The body of the dialog. */
class Code extends Widget {
  constructor(code: string, words: string) {
    super();
    this.addClass("sdw-doc-cell");
    this.node.append(h("pre", { tabindex: 0 }, code), h("p", {}, words));
  }
}
