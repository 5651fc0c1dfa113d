// Drags: recorded runs and images from the file browser, the desktop and the side panel, into
// notebooks (the cell that makes them again) and onto widgets; and commands that do the same.
//
// Drags inside JupyterLab are Lumino's events, which follow the pointer; those from the desktop are
// HTML5's. Both are heard before anything else in the page, and taken only where they mean
// something here: all other drags stay JupyterLab's.

import type { JupyterFrontEnd, JupyterFrontEndPlugin } from "@jupyterlab/application";
import { ICommandPalette, Notification } from "@jupyterlab/apputils";
import { IFileBrowserFactory } from "@jupyterlab/filebrowser";
import { INotebookTracker, type NotebookPanel } from "@jupyterlab/notebook";
import { ITranslator } from "@jupyterlab/translation";
import { addBelowIcon } from "@jupyterlab/ui-components";
import type { Drag } from "@lumino/dragdrop";
import { readSettings } from "../../src/lib/files";
import { isRecord } from "../../src/lib/inside";
import { type Carried, carriedBy, isImage, isPng, mayTell, mayTellByType } from "./drags/carried";
import type { Tools } from "./drags/cells";
import { attaches, mark, type Place, placeAt } from "./drags/places";
import "./drags/drops.css";
import { diffusionIcon } from "./icons";
import { texts } from "./texts";
import { IPreferences } from "./tokens";

const INSERT = "sdwidgets:insert-cell";
const GIVE = "sdwidgets:give-to-studio";

/** Takes drags, and offers the same as commands. */
export const drops: JupyterFrontEndPlugin<void> = {
  id: "sdwidgets:drops",
  description: "Takes recorded runs and images that are dragged into notebooks and onto widgets.",
  autoStart: true,
  optional: [INotebookTracker, IFileBrowserFactory, ICommandPalette, ITranslator, IPreferences],
  activate(
    app: JupyterFrontEnd,
    notebooks: INotebookTracker | null,
    browsers: IFileBrowserFactory | null,
    palette: ICommandPalette | null,
    translator: ITranslator | null,
    preferences: IPreferences | null,
  ) {
    const trans = texts(translator, preferences);
    const tools: Tools = { services: app.serviceManager, trans };
    new Drops(notebooks, tools);
    if (notebooks === null) return;

    const { commands, contextMenu } = app;
    const chosen = () => [...(browsers?.tracker.currentWidget?.selectedItems() ?? [])];
    const paths = (args: Readonly<Record<string, unknown>>) =>
      typeof args.path === "string" ? [args.path] : chosen().map(({ path }) => path);
    commands.addCommand(INSERT, {
      label: trans.__("Insert the Cell That Makes It Again"),
      caption: trans.__("For a recorded run or an image made here, in the current notebook"),
      icon: addBelowIcon,
      isEnabled: (args) => notebooks.currentWidget !== null && all(paths(args), mayTell),
      execute: async (args) => {
        const panel = notebooks.currentWidget;
        if (panel === null) return;
        const carried = paths(args).map((path) => ({ kind: "path", path }) as const);
        const { addBelow } = await import("./drags/cells");
        await addBelow(app, panel, carried, tools);
      },
    });
    commands.addCommand(GIVE, {
      label: trans.__("Use in the Studio"),
      caption: trans.__("A recorded run: its settings. An image: to start from"),
      icon: diffusionIcon,
      isEnabled: (args) => {
        const [path, ...more] = paths(args);
        const widget = widgetIn(notebooks.currentWidget);
        return (
          widget !== undefined && path !== undefined && more.length === 0 && fits(path, widget)
        );
      },
      execute: async (args) => {
        const [path] = paths(args);
        const panel = notebooks.currentWidget;
        const root = widgetIn(panel);
        if (panel === null || path === undefined || root === undefined) return;
        const { give } = await import("./drags/cells");
        await give(root, { kind: "path", path }, tools);
        app.shell.activateById(panel.id);
        root.scrollIntoView({ block: "nearest" });
      },
    });
    for (const command of [INSERT, GIVE]) {
      palette?.addItem({ command, category: trans.__("Diffusion") });
      for (const type of ["sdtrace", "png"]) {
        const selector = `.jp-DirListing-item[data-file-type="${type}"]`;
        contextMenu.addItem({ command, selector, rank: 1.5 });
      }
    }
  },
};

/** The Studio of a notebook; the last one if there are several. */
function widgetIn(panel: NotebookPanel | null): HTMLElement | undefined {
  const all = panel?.content.node.querySelectorAll<HTMLElement>('[data-takes~="settings"]') ?? [];
  return [...all].at(-1);
}

const all = <T>(some: readonly T[], fits: (one: T) => boolean) =>
  some.length > 0 && some.every((one) => fits(one));

/** Whether a widget takes a file of that name. */
const fits = (name: string, root: HTMLElement) =>
  isImage(name) || (isRecord(name) && root.matches('[data-takes~="settings"]'));

class Drops {
  #marked: (() => void) | undefined;
  /** Whether the images of the drag say how they were made; undefined until they are read. */
  #told = new Map<string, boolean | undefined>();

  constructor(
    private readonly notebooks: INotebookTracker | null,
    private readonly tools: Tools,
  ) {
    const listen = (names: readonly string[], act: (event: never) => void) => {
      for (const name of names) document.addEventListener(name, act as EventListener, true);
    };
    listen(["lm-dragenter", "lm-dragover", "lm-dragleave", "lm-drop"], this.#lumino);
    listen(["dragenter", "dragover", "dragleave", "drop"], this.#html);
    document.addEventListener("pointerdown", () => this.#told.clear(), true);
  }

  // ----------------------------------------------------------------------------------- Lumino's

  #lumino = (event: Drag.Event) => {
    if (event.type === "lm-dragleave") return this.#unmark();
    const carried: readonly Carried[] = carriedBy(event.mimeData);
    if (carried.length === 0) return;
    const isInBrowser = (event.target as Element).closest(".jp-DirListing") !== null;
    if (!isInBrowser) for (const one of carried) if (one.kind === "path") this.#ask(one.path);
    const place = placeAt(event, this.notebooks);
    const taken = place !== undefined && this.#takes(place, carried);
    if (event.type !== "lm-drop") this.#unmark();
    if (place === undefined || taken === false) return;
    event.preventDefault();
    event.stopPropagation();
    if (event.type === "lm-dragenter") return;
    event.dropAction = taken ? event.proposedAction : "none";
    if (event.type === "lm-dragover" && taken) this.#marked = mark(place);
    if (event.type !== "lm-drop") return;
    this.#unmark();
    if (taken) void this.#drop(place, carried);
  };

  /** Whether a drag is taken at a place; undefined while that is not known. */
  #takes(place: Place, carried: readonly Carried[]): boolean | undefined {
    const paths = carried.flatMap((one) => (one.kind === "path" ? [one.path] : []));
    if (place.kind === "widget") {
      const [one, ...more] = carried;
      if (one === undefined || more.length > 0) return false;
      if (one.kind === "settings") return place.root.matches('[data-takes~="settings"]');
      return one.kind === "path" && fits(one.path, place.root);
    }
    if (!paths.every(mayTell) || (paths.some(isPng) && attaches(place))) return false;
    const told = paths.filter(isPng).map((path) => this.#told.get(path));
    if (told.includes(false)) return false;
    return told.includes(undefined) ? undefined : true;
  }

  /** Begins to read an image when it leaves the file browser: without settings, it is not ours. */
  #ask(path: string) {
    if (this.#told.has(path) || !isPng(path)) return;
    this.#told.set(path, undefined);
    import("./drags/cells")
      .then(({ tells }) => tells(path, this.tools))
      .catch(() => false)
      .then((told) => this.#told.set(path, told));
  }

  // --------------------------------------------------------------------- HTML5's, from the desktop

  #html = (event: DragEvent) => {
    const { dataTransfer } = event;
    if (event.type !== "drop") this.#unmark();
    if (dataTransfer === null || event.type === "dragleave") return;
    const place = placeAt(event, this.notebooks);
    if (place?.kind !== "notebook" || !mayTellByType(dataTransfer)) return; // widgets hear it, too
    if (event.type !== "drop") {
      if (attaches(place) && [...dataTransfer.items].some(({ type }) => type !== "")) return;
      event.preventDefault();
      event.stopPropagation();
      dataTransfer.dropEffect = "copy";
      this.#marked = mark(place);
      return;
    }
    this.#unmark();
    const made = readSettings(dataTransfer);
    const files = [...dataTransfer.files];
    const isText = event.target instanceof Element && event.target.closest(".cm-content");
    if (made === undefined && !all(files, ({ name }) => mayTell(name)) && isText) return;
    if (attaches(place) && files.some(({ name }) => isPng(name))) return;
    event.preventDefault(); // else the browser leaves the page for the file
    event.stopPropagation();
    const carried: Carried[] =
      made !== undefined
        ? [{ kind: "settings", made }]
        : files.map((file) => ({ kind: "file", file }));
    void this.#drop(place, carried);
  };

  // ---------------------------------------------------------------------------------------- both

  #unmark() {
    this.#marked?.();
    this.#marked = undefined;
  }

  async #drop(place: Place, carried: readonly Carried[]) {
    try {
      const { addCells, give } = await import("./drags/cells");
      const [first] = carried;
      if (place.kind === "notebook") await addCells(place.panel, place.index, carried, this.tools);
      else if (first !== undefined) await give(place.root, first, this.tools);
    } catch (error) {
      Notification.error(this.tools.trans.__("Nothing was added: %1", String(error)));
    }
  }
}
