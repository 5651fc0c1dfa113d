// Recorded runs, .sdtrace, as documents.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";

/** Tells JupyterLab about the files. */
export const records: JupyterFrontEndPlugin<void> = {
  id: "sdwidgets:records",
  description: "Opens recorded runs (.sdtrace).",
  autoStart: true,
  activate(app: JupyterFrontEnd) {
    app.docRegistry.addFileType({
      name: "sdtrace",
      displayName: "Recorded run",
      extensions: [".sdtrace"],
      mimeTypes: ["application/vnd.sdwidgets.trace"],
      contentType: "file",
      fileFormat: "base64",
    });
  },
};
