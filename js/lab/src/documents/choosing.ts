// The choice of recorded runs: among the open ones, and among files.

import { InputDialog } from "@jupyterlab/apputils";
import { FileDialog } from "@jupyterlab/filebrowser";
import { isRecord } from "../../../src/lib/inside";
import { folderOf } from "../paths";
import type { Texts } from "../texts";
import type { Tools } from "./actions";
import type { RecordDocument } from "./record";

/** The path of a record to compare with; undefined if none was chosen. */
export async function chosenRecord(
  document: RecordDocument,
  { records, manager, trans }: Tools,
): Promise<string | undefined> {
  const own = document.context.path;
  const open = new Set<string>();
  records.forEach(({ context }) => void open.add(context.path));
  open.delete(own);
  if (open.size > 0) {
    const paths = [...open];
    const another = trans.__("Another file…");
    const { button, value } = await InputDialog.getItem({
      title: trans.__("Compare with"),
      label: trans.__("An open recorded run:"),
      items: [...paths, another],
      okLabel: trans.__("Compare"),
    });
    if (!button.accept || value === null) return undefined;
    if (value !== another) return value;
  }
  const title = trans.__("Compare with a recorded run");
  return (await recordFiles({ title, manager, defaultPath: folderOf(own) }, trans)).at(0);
}

/** The paths of the recorded runs that a person chooses among files. */
export async function recordFiles(
  options: Parameters<typeof FileDialog.getOpenFiles>[0],
  trans: Texts,
): Promise<string[]> {
  const { button, value } = await FileDialog.getOpenFiles({
    ...options,
    label: trans.__("Choose a file that ends in .sdtrace."),
    filter: ({ type, name }) => (type === "directory" || isRecord(name) ? {} : null),
  });
  // without a choice, the dialog answers with its folder
  return button.accept ? (value ?? []).map(({ path }) => path).filter(isRecord) : [];
}
