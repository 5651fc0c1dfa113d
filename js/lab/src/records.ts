// Recorded runs, .sdtrace, as documents: opened by a double-click, compared, made again, exported.

import {
  ILayoutRestorer,
  type JupyterFrontEnd,
  type JupyterFrontEndPlugin,
} from "@jupyterlab/application";
import {
  ICommandPalette,
  MainAreaWidget,
  ToolbarButton,
  WidgetTracker,
} from "@jupyterlab/apputils";
import { IDocumentManager } from "@jupyterlab/docmanager";
import type { DocumentRegistry } from "@jupyterlab/docregistry";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ITranslator } from "@jupyterlab/translation";
import {
  downloadIcon,
  type LabIcon,
  refreshIcon,
  runIcon,
  tableRowsIcon,
} from "@jupyterlab/ui-components";
import type { ReadonlyPartialJSONObject } from "@lumino/coreutils";
import type { Selection } from "../../src/lib/selection";
import * as actions from "./documents/actions";
import { type Action, COMMANDS, type Tools } from "./documents/actions";
import { CompareView } from "./documents/compare";
import { addFactory, DocumentFactory } from "./documents/document";
import { type RecordDocument, RecordView } from "./documents/record";
import { compareIcon, recordIcon } from "./icons";
import { texts } from "./texts";
import { IPreferences, IRecords } from "./tokens";

const FACTORY = "Recorded run";

/** Opens recorded runs. */
export const records: JupyterFrontEndPlugin<IRecords> = {
  id: "sdwidgets:records",
  description: "Opens recorded runs (.sdtrace).",
  autoStart: true,
  provides: IRecords,
  requires: [IDocumentManager],
  optional: [ILayoutRestorer, ICommandPalette, INotebookTracker, ITranslator, IPreferences],
  activate(
    app: JupyterFrontEnd,
    manager: IDocumentManager,
    restorer: ILayoutRestorer | null,
    palette: ICommandPalette | null,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null,
    preferences: IPreferences | null,
  ) {
    const { commands, docRegistry, serviceManager: services } = app;
    const trans = texts(translator, preferences);
    const tracker = new WidgetTracker<RecordDocument>({ namespace: "sdwidgets-records" });
    const tools: Tools = { app, manager, records: tracker, notebooks, trans };

    docRegistry.addFileType({
      name: "sdtrace",
      displayName: trans.__("Recorded run"),
      extensions: [".sdtrace"],
      mimeTypes: ["application/vnd.sdwidgets.trace"],
      contentType: "file",
      fileFormat: "base64",
      icon: recordIcon,
    });

    // ---------------------------------------------------------------------------- what it offers

    interface Offer {
      command: string;
      label: string; // in the palette
      short: string; // in the toolbar
      icon: LabIcon;
      act: Action;
    }
    const offers: Offer[] = [
      {
        command: COMMANDS.with,
        label: trans.__("Compare Recorded Run With…"),
        short: trans.__("Compare…"),
        icon: compareIcon,
        act: actions.compareWith,
      },
      {
        command: COMMANDS.again,
        label: trans.__("Make This Run Again…"),
        short: trans.__("Make again…"),
        icon: runIcon,
        act: actions.makeAgain,
      },
      {
        command: COMMANDS.export,
        label: trans.__("Export Recorded Run as a Page"),
        short: trans.__("Export page"),
        icon: downloadIcon,
        act: actions.exportPage,
      },
      {
        command: COMMANDS.about,
        label: trans.__("Show or Hide the Settings of the Recorded Run"),
        short: trans.__("About"),
        icon: tableRowsIcon,
        act: actions.showAbout,
      },
      {
        command: COMMANDS.reload,
        label: trans.__("Reload Recorded Run"),
        short: trans.__("Reload"),
        icon: refreshIcon,
        act: actions.reload,
      },
    ];
    const isCurrent = () => tracker.currentWidget !== null && isShown(app, tracker.currentWidget);
    for (const { command, label, icon, act } of offers) {
      commands.addCommand(command, {
        label,
        icon,
        isEnabled: isCurrent,
        execute: () => tracker.currentWidget && act(tracker.currentWidget, tools),
      });
      palette?.addItem({ command, category: trans.__("Diffusion") });
    }
    const toolbarFactory = (document: RecordDocument): DocumentRegistry.IToolbarItem[] =>
      offers.map(({ command, label, short, icon, act }) => {
        const onClick = () => void act(document, tools);
        const needs = command !== COMMANDS.reload;
        const widget = new ToolbarButton({ icon, label: short, tooltip: label, onClick });
        if (needs) {
          widget.enabled = false;
          document.content.filled.connect((_view, isThere) => {
            widget.enabled = isThere;
          });
        }
        return { name: command.split(":")[1] as string, widget };
      });

    // ------------------------------------------------------------------------------- the document

    const around = { services, trans, preferences };
    const factory = new DocumentFactory(
      {
        name: FACTORY,
        label: trans.__("Recorded Run"),
        fileTypes: ["sdtrace"],
        defaultFor: ["sdtrace"],
        toolbarFactory,
      },
      (context) => new RecordView(context, around),
    );
    factory.widgetCreated.connect((_factory, document) => {
      document.title.icon = recordIcon;
      document.context.pathChanged.connect(() => void tracker.save(document));
      document.content.selected.connect(() => void tracker.save(document));
      void tracker.add(document);
    });
    addFactory(docRegistry, factory);

    commands.addCommand(COMMANDS.restore, {
      label: trans.__("Bring Back Recorded Run"),
      execute: ({ path, selection }) => {
        const document = manager.openOrReveal(path as string, FACTORY) as
          | RecordDocument
          | undefined;
        if (document && selection) document.content.selection = selection as Partial<Selection>;
        return document;
      },
    });
    void restorer?.restore(tracker, {
      command: COMMANDS.restore,
      args: ({ context, content }) => ({ path: context.path, selection: content.selection }),
      name: ({ context }) => context.path,
    });

    // --------------------------------------------------------------------------- several together

    const compared = new WidgetTracker<MainAreaWidget<CompareView>>({
      namespace: "sdwidgets-compared",
    });
    commands.addCommand(COMMANDS.compare, {
      label: trans.__("Compare Recorded Runs"),
      execute: async (args: ReadonlyPartialJSONObject) => {
        const paths = args.paths as string[];
        const content = new CompareView(paths, around);
        const document = new MainAreaWidget({ content });
        const onClick = () => content.reload();
        const tooltip = trans.__("Reload");
        document.toolbar.addItem(
          "reload",
          new ToolbarButton({ icon: refreshIcon, tooltip, onClick }),
        );
        document.title.icon = compareIcon;
        if (args.selection) content.selection = args.selection as Partial<Selection>;
        content.selected.connect(() => void compared.save(document));
        await compared.add(document);
        app.shell.add(document, "main");
        app.shell.activateById(document.id);
        return document;
      },
    });
    void restorer?.restore(compared, {
      command: COMMANDS.compare,
      args: ({ content }) => ({ paths: [...content.paths], selection: content.selection }),
      name: ({ content }) => content.paths.join("|"),
    });
    return tracker;
  },
};

/** Whether the document is the one in front. */
const isShown = ({ shell }: JupyterFrontEnd, document: RecordDocument) =>
  shell.currentWidget === document;
