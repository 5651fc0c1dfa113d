// What the side panel needs of JupyterLab: icons, dialogs, notebooks, drags. Loaded when it is first
// shown.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, MainAreaWidget, Notification, showDialog } from "@jupyterlab/apputils";
import { ConsolePanel } from "@jupyterlab/console";
import { NotebookPanel } from "@jupyterlab/notebook";
import {
  addBelowIcon,
  caretDownIcon,
  caretRightIcon,
  checkIcon,
  circleEmptyIcon,
  closeIcon,
  errorIcon,
  extensionIcon,
  imageIcon,
  launchIcon,
  moveDownIcon,
  moveUpIcon,
  refreshIcon,
  stopIcon,
} from "@jupyterlab/ui-components";
import { MimeData } from "@lumino/coreutils";
import { Drag } from "@lumino/dragdrop";
import { Widget } from "@lumino/widgets";
import { making, NoCell } from "../../src/lib/cell";
import { SETTINGS_TYPE } from "../../src/lib/files";
import type { Host, IconName } from "../../src/side/host";
import { large } from "../../src/side/large";
import type { Image } from "../../src/side/said";
import { sideView } from "../../src/side/view";
import { addBelow } from "./drags/cells";
import type { Texts } from "./texts";
import type { IKernels } from "./tokens";

const ICONS: Record<IconName, typeof stopIcon> = {
  ...{ open: caretDownIcon, shut: caretRightIcon, stop: stopIcon, up: moveUpIcon },
  ...{ down: moveDownIcon, close: closeIcon, refresh: refreshIcon, model: circleEmptyIcon },
  ...{ loaded: checkIcon, refused: errorIcon, enlarge: launchIcon, cell: addBelowIcon },
  part: extensionIcon,
};

/** Draws the panel into `node`; returns the cleanup. */
export function draw(
  app: JupyterFrontEnd,
  kernels: IKernels,
  node: HTMLElement,
  trans: Texts,
): () => void {
  const { model } = kernels;

  const insert = (image: Image) => {
    const { followed } = kernels;
    const made = image.settings;
    if (followed instanceof NotebookPanel) {
      const tools = { services: app.serviceManager, trans };
      void addBelow(app, followed, [{ kind: "settings", made }], tools);
    } else if (followed instanceof ConsolePanel) {
      prompt(followed, made, trans);
      app.shell.activateById(followed.id);
    }
  };
  const enlarge = (image: Image) => {
    const content = new Widget();
    const leave = large(model as never, content.node, image, host, insert);
    const shown = new MainAreaWidget({ content });
    shown.toolbar.hide(); // it has nothing
    shown.title.label = image.prompt || trans.__("Image");
    shown.title.icon = imageIcon;
    shown.title.closable = true;
    content.disposed.connect(leave);
    app.shell.add(shown, "main");
    app.shell.activateById(shown.id);
  };
  const host: Host = {
    texts: trans,
    icon: (name) => ICONS[name].element({ tag: "span" }),
    enlarge,
    insert,
    explain: (title, body) =>
      void showDialog({ title, body, buttons: [Dialog.okButton({ label: trans.__("OK") })] }),
    drag(image, thumbnail, event) {
      const mimeData = new MimeData();
      mimeData.setData(SETTINGS_TYPE, JSON.stringify(image.settings));
      const dragImage = thumbnail.querySelector("img")?.cloneNode() as HTMLElement;
      dragImage.style.width = dragImage.style.height = "64px";
      const drag = new Drag({
        mimeData,
        dragImage,
        proposedAction: "copy",
        supportedActions: "copy",
      });
      void drag.start(event.clientX, event.clientY).then(() => drag.dispose());
    },
  };
  const page = document.createElement("div");
  node.append(page);
  const leave = sideView(model as never, page, host);
  return () => {
    leave();
    page.remove();
  };
}

/** Puts the code that makes a run again into a console's prompt. */
function prompt({ console }: ConsolePanel, made: unknown, trans: Texts) {
  try {
    console.promptCell?.model.sharedModel.setSource(making(made));
    console.promptCell?.editor?.focus();
  } catch (error) {
    if (!(error instanceof NoCell)) throw error;
    Notification.warning(trans.__("This image cannot be made again by a cell. %1", error.message));
  }
}
