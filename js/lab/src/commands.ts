// The commands that begin something: a new Studio, a lesson, a recorded run. They are in the
// launcher, the palette and, by schema/commands.json, in the menu and the keyboard shortcuts.

import {
  ILabShell,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin,
} from "@jupyterlab/application";
import { ICommandPalette, showErrorMessage } from "@jupyterlab/apputils";
import { IDocumentManager } from "@jupyterlab/docmanager";
import type { DocumentWidget } from "@jupyterlab/docregistry";
import { IDefaultFileBrowser } from "@jupyterlab/filebrowser";
import { ILauncher } from "@jupyterlab/launcher";
import { INotebookTracker, type NotebookPanel } from "@jupyterlab/notebook";
import { ITranslator } from "@jupyterlab/translation";
import { CommandRegistry } from "@lumino/commands";
import { diffusionIcon, lessonIcon, recordIcon } from "./icons";
import { lessons } from "./lessons";
import { NotMade } from "./new_notebooks";
import { folderOf } from "./paths";
import { type Texts, texts } from "./texts";
import { IPreferences } from "./tokens";

/** The commands of the extension; those of other plugins may be missing. */
export const COMMANDS = {
  newStudio: "sdwidgets:new-studio",
  openLessons: "sdwidgets:open-lessons",
  openRecord: "sdwidgets:open-record",
  togglePanel: "sdwidgets:toggle-panel",
  stop: "sdwidgets:stop",
};

/** Makes the commands, and shows them in the launcher and the palette. */
export const commands: JupyterFrontEndPlugin<void> = {
  id: "sdwidgets:commands",
  description: "New Studio notebooks, lessons, recorded runs: launcher, palette, menu, shortcuts.",
  autoStart: true,
  optional: [
    ICommandPalette,
    ILauncher,
    IDefaultFileBrowser,
    IDocumentManager,
    INotebookTracker,
    ILabShell,
    ITranslator,
    IPreferences,
  ],
  activate(
    app: JupyterFrontEnd,
    palette: ICommandPalette | null,
    launcher: ILauncher | null,
    browser: IDefaultFileBrowser | null,
    documents: IDocumentManager | null,
    notebooks: INotebookTracker | null,
    lab: ILabShell | null,
    translator: ITranslator | null,
    preferences: IPreferences | null,
  ) {
    const trans = texts(translator, preferences);
    const folder = (args: { cwd?: unknown }) =>
      typeof args.cwd === "string" ? args.cwd : currentFolder(app, browser, lab);

    app.commands.addCommand(COMMANDS.newStudio, {
      label: () => trans.__("New Studio Notebook"),
      caption: () => trans.__("Make a notebook with a Studio, and run it"),
      icon: diffusionIcon,
      execute: (args) =>
        orSay(async () => {
          const { newStudio } = await import("./studio_notebook");
          return newStudio(app, folder(args), trans);
        }),
      describedBy: { args: described({ cwd: "The folder of the notebook." }) },
    });
    app.commands.addCommand(COMMANDS.openLessons, {
      label: (args) => title(args.lesson, trans) ?? trans.__("Lessons…"),
      caption: () => trans.__("Open your copy of a lesson"),
      icon: lessonIcon,
      execute: (args) =>
        orSay(async () => {
          const { chooseLesson, openLesson } = await import("./lesson_copy");
          const where = folder(args);
          const name =
            args.lesson === undefined ? await chooseLesson(where, trans) : String(args.lesson);
          return name && openLesson(app, name, where, trans);
        }),
      describedBy: {
        args: described({ lesson: "The name of a lesson.", cwd: "The folder of the copy." }),
      },
    });
    if (documents !== null) {
      app.commands.addCommand(COMMANDS.openRecord, {
        label: () => trans.__("Open Recorded Run…"),
        caption: () => trans.__("Open a recorded run (.sdtrace)"),
        icon: recordIcon,
        execute: async (args) => {
          const { recordFiles } = await import("./documents/choosing");
          const options = {
            title: trans.__("Open a recorded run"),
            manager: documents,
            defaultPath: folder(args),
            ...(translator && { translator }),
          };
          for (const path of await recordFiles(options, trans)) {
            await app.commands.execute("docmanager:open", { path });
          }
        },
        describedBy: { args: described({ cwd: "The folder that is shown first." }) },
      });
    }

    // In Notebook 7, this may be the tab that another one has opened to run its notebook.
    const shown = async () => {
      const panel = app.shell.currentWidget;
      if (panel === null || !notebooks?.has(panel)) return;
      const { runIfLeft } = await import("./studio_notebook");
      await runIfLeft(panel as NotebookPanel, trans);
    };
    if (lab === null) {
      app.shell.currentChanged?.connect(shown);
      void shown();
    }
    if (lab !== null) reachFromFields(app);

    // The categories are texts that do not change any more, so the language must be known.
    void (preferences?.ready ?? Promise.resolve()).then(() => {
      const category = trans.__("Diffusion");
      launcher?.add({ command: COMMANDS.newStudio, category, rank: 0, categoryRank: 10 });
      launcher?.add({ command: COMMANDS.openLessons, category, rank: 1, categoryRank: 10 });
      for (const command of Object.values(COMMANDS)) palette?.addItem({ command, category });
      for (const { name } of lessons(trans)) {
        const args = { lesson: name };
        palette?.addItem({ command: COMMANDS.openLessons, category, args });
      }
      for (const id of Object.values(COMMANDS)) {
        if (app.commands.hasCommand(id)) app.commands.notifyCommandChanged(id);
      }
    });
    preferences?.changed.connect((_, name) => {
      if (name === "language") app.commands.notifyCommandChanged();
    });
  },
};

/**
 * Lets the shortcuts of these commands work in the text fields of widgets, such as a Studio's prompt.
 * ipywidgets stops all keys that are pressed there before they reach JupyterLab.
 */
function reachFromFields(app: JupyterFrontEnd): void {
  const ours = new Set(Object.values(COMMANDS));
  const listen = (event: KeyboardEvent) => {
    if (!(event.target as Element).matches?.(".jp-OutputArea :is(input, textarea)")) return;
    const key = CommandRegistry.keystrokeForKeydownEvent(event);
    const isOurs = app.commands.keyBindings.some(
      ({ command, keys }) => ours.has(command) && keys.length === 1 && keys[0] === key,
    );
    if (isOurs) app.commands.processKeydownEvent(event);
  };
  document.addEventListener("keydown", listen, true);
}

/** The folder that the file browser shows; where there is none, the open document's. */
function currentFolder(
  app: JupyterFrontEnd,
  browser: IDefaultFileBrowser | null,
  lab: ILabShell | null,
): string {
  const document = app.shell.currentWidget as DocumentWidget | null;
  const path = document?.context?.path;
  if (lab === null && path !== undefined) return folderOf(path);
  return browser?.model.path ?? "";
}

/** The label of the command that opens a lesson. */
function title(name: unknown, trans: Texts): string | undefined {
  const lesson = lessons(trans).find((lesson) => lesson.name === name);
  return lesson && trans.__("Lesson: %1", lesson.title);
}

/** Does something; if it is not possible, tells a person why. */
async function orSay<T>(act: () => Promise<T>): Promise<T | undefined> {
  try {
    return await act();
  } catch (error) {
    if (!(error instanceof NotMade)) throw error;
    await showErrorMessage(error.title, error.message);
    return undefined;
  }
}

/** The arguments of a command, all of them texts that may be left out. */
function described(texts: Record<string, string>) {
  const properties = Object.fromEntries(
    Object.entries(texts).map(([name, description]) => [name, { type: "string", description }]),
  );
  return { type: "object", properties };
}
