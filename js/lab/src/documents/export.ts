// A recorded run as a single page, downloaded by the browser.

import type { RecordFile } from "../../../src/record";
import { pageOf } from "../../../src/record/page";
import { built } from "./viewers";

/** Downloads the page that `Trace.export_html` writes. */
export async function download(file: RecordFile): Promise<void> {
  const page = await pageOf(file, await built());
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob([page], { type: "text/html" }));
  link.download = file.name.replace(/(\.sdtrace)?$/i, ".html");
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000); // the browser has it by then
}
