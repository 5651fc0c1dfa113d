// Opens a notebook where the application opens notebooks: JupyterLab in a tab of its own, Notebook 7
// in a tab of the browser.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { PageConfig, URLExt } from "@jupyterlab/coreutils";
import type { NotebookPanel } from "@jupyterlab/notebook";
import { NotMade } from "./new_notebooks";
import type { Texts } from "./texts";

/** Returns the notebook's widget; nothing if it is in another tab of the browser. */
export async function openNotebook(
  app: JupyterFrontEnd,
  path: string,
  trans: Texts,
): Promise<NotebookPanel | undefined> {
  const isNotebook7 = PageConfig.getOption("notebookPage") !== "";
  if (!isNotebook7) {
    return app.commands.execute("docmanager:open", { path, factory: "Notebook" });
  }
  // Its docmanager:open would first open the notebook in this tab, unseen, with a kernel.
  const address = URLExt.join(PageConfig.getBaseUrl(), "notebooks", URLExt.encodeParts(path));
  if (window.open(address, "_blank") === null) {
    throw new NotMade(
      trans.__("No tab was opened"),
      trans.__("The browser blocked it. The notebook is %1: open it from the list of files.", path),
    );
  }
  return undefined;
}
