// Recorded runs (`.sdtrace`) in the browser, without a kernel and without Python.
//
//     const file = await openRecord(bytesSource(bytes), { name: "cat.sdtrace", signal });
//     viewer.initialize({ model: file.model });
//     viewer.render({ model: file.model, el });        // viewer.ts
//     file.settings, file.meta                         // plain data
//     file.recordOf()                                  // the run as JSON: for `cell.ts`
//     await file.images                                // PNG files, with the settings inside
//     file.checked.catch(show);                        // the whole file, in the background
//     file.close();
//
// `openRecord` resolves as soon as the header is checked and the first step is there: the last one
// kept, which a viewer shows first. Other steps follow, those near the selected one first, each in
// its own trait, and the whole file is read once in the background. A file that is wrong is refused
// with a `RefusedRecord`, whose message is Python's: by `openRecord`, or later by `checked`, and then
// the model's state is "error" with the same message.
//
// `settingsInImage(bytes)` reads the settings inside a PNG.
// `pageOf(file, { script, style })` makes the page that `Trace.export_html` writes, from the text of the
// built standalone.js and standalone.css.
//
// `openComparison([one, other])` is the model of Compare for two to six opened records.

export { about, sizeOf } from "./about";
export { type Comparison, openComparison } from "./comparison";
export { type Built, pageOf } from "./page";
export { type ImageSettings, settingsInImage, toldBy } from "./png";
export { type Meta, type OpenOptions, RecordFile } from "./record";
export { RefusedRecord } from "./refused";
export { recordOf } from "./said";
export type { Settings } from "./settings";
export { bytesSource } from "./source";
export type { ModelSource } from "./sources";

import type { Source } from "../lib/source";
import { type OpenOptions, RecordFile } from "./record";

/** The record in a file. Rejects with `RefusedRecord` for a file that is not as it was written, and
 * with the signal's reason once it aborts. */
export const openRecord = (source: Source, options: OpenOptions = {}): Promise<RecordFile> =>
  RecordFile.open(source, options);
