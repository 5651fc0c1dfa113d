// What a person does with a recorded run: compare it, make it again, export it.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { showErrorMessage } from "@jupyterlab/apputils";
import type { IDocumentManager } from "@jupyterlab/docmanager";
import type { INotebookTracker } from "@jupyterlab/notebook";
import type { Texts } from "../texts";
import type { IRecords } from "../tokens";
import type { RecordDocument } from "./record";

/** What the actions work with. */
export interface Tools {
  app: JupyterFrontEnd;
  manager: IDocumentManager;
  records: IRecords;
  notebooks: INotebookTracker | null;
  trans: Texts;
}

export type Action = (document: RecordDocument, tools: Tools) => unknown;

/** Shows it beside another, which a person chooses among the open ones and the files. */
export const compareWith: Action = async (document, tools) => {
  const { chosenRecord } = await import("./choosing");
  const other = await chosenRecord(document, tools);
  if (other === undefined) return;
  const paths = [document.context.path, other];
  await tools.app.commands.execute(COMMANDS.compare, { paths });
};

/** Offers the cell that makes it again. */
export const makeAgain: Action = async (document, tools) => {
  const { shown } = document.content;
  if (shown === undefined) return;
  const { offerCell } = await import("./again");
  await offerCell({ path: document.context.path, ...shown.made() }, tools);
};

/** Downloads it as a page. */
export const exportPage: Action = async ({ content }, { trans }) => {
  if (content.shown === undefined) return;
  const { download } = await import("./export");
  try {
    await download(content.shown.file);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    await showErrorMessage(trans.__("No page was made"), why);
  }
};

/** Shows or hides its settings. */
export const showAbout: Action = ({ content }) => content.shown?.toggleAbout();

/** Reads its file again. */
export const reload: Action = ({ content }) => content.reload();

/** The names of the commands. */
export const COMMANDS = {
  restore: "sdwidgets:restore-record",
  compare: "sdwidgets:compare-records",
  with: "sdwidgets:compare-record-with",
  again: "sdwidgets:make-run-again",
  export: "sdwidgets:export-record",
  about: "sdwidgets:about-record",
  reload: "sdwidgets:reload-record",
} as const;
