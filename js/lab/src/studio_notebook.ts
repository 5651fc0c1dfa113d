// A new notebook with a Studio that is ready.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { showErrorMessage } from "@jupyterlab/apputils";
import { PageConfig } from "@jupyterlab/coreutils";
import { NotebookActions, type NotebookPanel } from "@jupyterlab/notebook";
import type { Widget } from "@lumino/widgets";
import { leave, take } from "./handover";
import {
  haveSameCells,
  type NotebookContent,
  NotMade,
  newNotebook,
  notebookOf,
  pythonKernel,
} from "./new_notebooks";
import { openNotebook } from "./opening";
import type { Texts } from "./texts";

const NAME = "Studio";
const SOURCE = "import sdwidgets as sdw\n\nstudio = sdw.Studio()\nstudio";

/**
 * Makes a notebook in a folder, opens it and begins to run it. Returns its widget; nothing where
 * another tab of the browser opens it. Throws `NotMade`.
 */
export async function newStudio(
  app: JupyterFrontEnd,
  folder: string,
  trans: Texts,
): Promise<Widget | undefined> {
  const { kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  if (pythonKernel(kernelspecs.specs) === undefined) {
    throw new NotMade(
      trans.__("No notebook was made"),
      trans.__(
        "The Studio needs a Python kernel, and this server has none. Install one where the server runs: pip install ipykernel sdwidgets",
      ),
    );
  }
  const path = await newNotebook(app.serviceManager, folder, NAME, () => SOURCE, trans);
  leave(path, PageConfig.getBaseUrl());
  const panel = await openNotebook(app, path, trans);
  if (panel !== undefined) void runIfLeft(panel, trans);
  return panel;
}

/** Runs a notebook that was left to run, once, and if it is nothing but the cell above. */
export async function runIfLeft(panel: NotebookPanel, trans: Texts): Promise<void> {
  if (!take(panel.context.path, PageConfig.getBaseUrl())) return;
  await panel.context.ready;
  const content = panel.context.model.toJSON() as unknown as NotebookContent;
  if (!haveSameCells(content, notebookOf(SOURCE))) return;
  await panel.sessionContext.ready;
  focusPrompt(panel);
  await NotebookActions.runAll(panel.content, panel.sessionContext);
  if (lacksPackage(panel)) {
    await showErrorMessage(
      trans.__("The kernel has no sdwidgets"),
      trans.__(
        "The kernel “%1” cannot import sdwidgets. Run “%pip install sdwidgets” in a cell, restart the kernel, and run the first cell again.",
        panel.sessionContext.kernelDisplayName,
      ),
    );
  }
}

/** Whether the import failed for want of the package itself. */
function lacksPackage(panel: NotebookPanel): boolean {
  if (panel.isDisposed) return false;
  const { cells } = panel.context.model.toJSON() as unknown as NotebookContent;
  const outputs = (cells[0]?.outputs ?? []) as { ename?: string; evalue?: string }[];
  return outputs.some(
    ({ ename, evalue }) => ename === "ModuleNotFoundError" && /'sdwidgets'/.test(evalue ?? ""),
  );
}

/** Moves the focus to the Studio's prompt when it appears, unless a person was faster. */
function focusPrompt(panel: NotebookPanel): void {
  const stop = () => {
    appearing.disconnect();
    document.removeEventListener("keydown", stop, true);
    document.removeEventListener("pointerdown", stop, true);
  };
  const appearing = new MutationObserver(() => {
    const prompt = panel.node.querySelector<HTMLElement>(".sdw-prompt textarea");
    if (prompt === null) return;
    const focused = document.activeElement;
    if (focused === null || focused === document.body || panel.node.contains(focused)) {
      prompt.focus();
    }
    stop();
  });
  appearing.observe(panel.node, { childList: true, subtree: true });
  document.addEventListener("keydown", stop, true);
  document.addEventListener("pointerdown", stop, true);
  panel.disposed.connect(stop);
}
