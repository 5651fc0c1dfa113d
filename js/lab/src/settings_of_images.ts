// "Open With > Diffusion Settings" for PNG files: the image, what made it, and the cell that makes
// it again. JupyterLab's own viewer stays the default.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ILayoutRestorer } from "@jupyterlab/application";
import { ToolbarButton, WidgetTracker } from "@jupyterlab/apputils";
import { INotebookTracker } from "@jupyterlab/notebook";
import { ITranslator } from "@jupyterlab/translation";
import { refreshIcon, runIcon } from "@jupyterlab/ui-components";
import { addFactory, DocumentFactory } from "./documents/document";
import { type ImageDocument, ImageView } from "./documents/image";
import { diffusionIcon } from "./icons";
import { texts } from "./texts";
import { IPreferences } from "./tokens";

const FACTORY = "Diffusion settings";

/** Shows the settings inside images. */
export const settingsOfImages: JupyterFrontEndPlugin<void> = {
  id: "sdwidgets:settings-of-images",
  description: "Shows what made an image, from the settings inside its file.",
  autoStart: true,
  optional: [ILayoutRestorer, INotebookTracker, ITranslator, IPreferences],
  activate(
    app: JupyterFrontEnd,
    restorer: ILayoutRestorer | null,
    notebooks: INotebookTracker | null,
    translator: ITranslator | null,
    preferences: IPreferences | null,
  ) {
    const trans = texts(translator, preferences);
    const around = { services: app.serviceManager, trans, preferences };
    const tracker = new WidgetTracker<ImageDocument>({ namespace: "sdwidgets-images" });

    const again = async ({ content }: ImageDocument) => {
      const { made, name, context } = content;
      if (made === undefined) return;
      const { offerCell } = await import("./documents/again");
      const run = { path: context.path, made, found: { name } };
      await offerCell(run, { app, notebooks, trans });
    };
    const toolbarFactory = (document: ImageDocument) => {
      const makeAgain = new ToolbarButton({
        icon: runIcon,
        label: trans.__("Make again…"),
        tooltip: trans.__("Make This Image Again…"),
        onClick: () => void again(document),
        enabled: false,
      });
      document.content.filled.connect(({ made }, isThere) => {
        makeAgain.enabled = isThere && made !== undefined;
      });
      const reload = new ToolbarButton({
        icon: refreshIcon,
        label: trans.__("Reload"),
        tooltip: trans.__("Reload"),
        onClick: () => document.content.reload(),
      });
      return [
        { name: "make-again", widget: makeAgain },
        { name: "reload", widget: reload },
      ];
    };
    const factory = new DocumentFactory(
      {
        name: FACTORY,
        label: trans.__("Diffusion Settings"),
        fileTypes: ["png"],
        toolbarFactory,
      },
      (context) => new ImageView(context, around),
    );
    factory.widgetCreated.connect((_factory, document) => {
      document.title.icon = diffusionIcon;
      document.context.pathChanged.connect(() => void tracker.save(document));
      void tracker.add(document);
    });
    addFactory(app.docRegistry, factory);
    void restorer?.restore(tracker, {
      command: "docmanager:open",
      args: ({ context }) => ({ path: context.path, factory: FACTORY }),
      name: ({ context }) => context.path,
    });
  },
};
