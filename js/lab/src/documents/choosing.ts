// The choice of another recorded run.

import { InputDialog } from "@jupyterlab/apputils";
import { FileDialog } from "@jupyterlab/filebrowser";
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
  const { value } = await FileDialog.getOpenFiles({
    manager,
    defaultPath: own.split("/").slice(0, -1).join("/"),
    title: trans.__("Compare with a recorded run"),
    label: trans.__("Choose a file that ends in .sdtrace."),
    filter: ({ type, name }) => (type === "directory" || name.endsWith(".sdtrace") ? {} : null),
  });
  return value?.map(({ path }) => path).find((path) => path.endsWith(".sdtrace"));
}
