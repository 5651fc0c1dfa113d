// Lessons are copied into a person's folder and opened there. The copies are the person's own: one
// that is there already is opened, and never written over.

import type { JupyterFrontEnd } from "@jupyterlab/application";
import { Dialog, showDialog } from "@jupyterlab/apputils";
import { Widget } from "@lumino/widgets";
import first from "../../../notebooks/01_first_picture.ipynb?text";
import denoising from "../../../notebooks/02_denoising.ipynb?text";
import attention from "../../../notebooks/03_cross_attention.ipynb?text";
import autoencoder from "../../../notebooks/04_autoencoder.ipynb?text";
import training from "../../../notebooks/05_train_your_own.ipynb?text";
import changing from "../../../notebooks/06_change_a_run.ipynb?text";
import systems from "../../../notebooks/07_one_idea_many_systems.ipynb?text";
import "./lesson_copy.css";
import { type Lesson, lessons } from "./lessons";
import {
  freeName,
  haveSameCells,
  namesIn,
  pythonKernel,
  shown,
  withKernel,
  write,
} from "./new_notebooks";
import { openNotebook } from "./opening";
import { inFolder } from "./paths";
import type { Texts } from "./texts";

const NOTEBOOKS: Record<string, string> = {
  "01_first_picture": first,
  "02_denoising": denoising,
  "03_cross_attention": attention,
  "04_autoencoder": autoencoder,
  "05_train_your_own": training,
  "06_change_a_run": changing,
  "07_one_idea_many_systems": systems,
};

/** Copies a lesson into a folder, unless it is there, and opens it. Throws `NotMade`. */
export async function openLesson(
  app: JupyterFrontEnd,
  name: string,
  folder: string,
  trans: Texts,
): Promise<Widget | undefined> {
  const text = NOTEBOOKS[name];
  if (text === undefined) {
    const names = Object.keys(NOTEBOOKS).join(", ");
    throw new Error(`There is no lesson ${name}. The lessons are: ${names}`);
  }
  const { contents, kernelspecs } = app.serviceManager;
  await kernelspecs.ready;
  const lesson = withKernel(JSON.parse(text), pythonKernel(kernelspecs.specs));

  const names = await namesIn(folder, contents, trans);
  const file = `${name}.ipynb`;
  const path = inFolder(folder, file);
  let opened = path;
  if (names.has(file)) {
    const isLesson = haveSameCells(lesson, (await contents.get(path)).content);
    const choice = isLesson ? "open" : await ask(file, trans);
    if (choice === "cancel") return undefined;
    if (choice === "copy") {
      opened = await write(folder, freeName(name, names), lesson, contents, trans);
    }
  } else {
    opened = await write(folder, file, lesson, contents, trans);
  }
  return openNotebook(app, opened, trans);
}

/** Asks what to do about a copy that was changed. */
async function ask(file: string, trans: Texts): Promise<"open" | "copy" | "cancel"> {
  const buttons = [
    Dialog.cancelButton({ label: trans.__("Cancel") }),
    Dialog.createButton({ label: trans.__("New Copy"), actions: ["copy"] }),
    Dialog.okButton({ label: trans.__("Open It"), actions: ["open"] }),
  ];
  const { button } = await showDialog({
    title: trans.__("You have this lesson"),
    body: trans.__(
      "%1 in this folder differs from the lesson. It is kept as it is: open it, or make a new copy beside it.",
      file,
    ),
    buttons,
  });
  return button.accept ? (button.actions[0] as "open" | "copy") : "cancel";
}

/** Asks which lesson to open in a folder; returns its name, or nothing. */
export async function chooseLesson(folder: string, trans: Texts): Promise<string | undefined> {
  const { button, value } = await showDialog({
    title: trans.__("Lessons"),
    body: new Choice(lessons(trans), trans.__("Your copy is in the folder %1", shown(folder))),
    buttons: [
      Dialog.cancelButton({ label: trans.__("Cancel") }),
      Dialog.okButton({ label: trans.__("Open") }),
    ],
    focusNodeSelector: "input:checked",
  });
  return button.accept && value !== null ? value : undefined;
}

/** The list of lessons: radio buttons, so that arrow keys choose and Enter opens. */
class Choice extends Widget implements Dialog.IBodyWidget<string> {
  constructor(all: readonly Lesson[], about: string) {
    super({ node: document.createElement("fieldset") });
    this.addClass("sdl-lessons");
    const legend = document.createElement("legend");
    legend.textContent = about;
    this.node.append(legend, ...all.map(row));
    this.node.querySelector("input")?.setAttribute("checked", "");
    this.node.addEventListener("dblclick", (event) => {
      const label = (event.target as Element).closest("label");
      const ok = this.node.closest(".jp-Dialog")?.querySelector<HTMLElement>(".jp-mod-accept");
      if (label !== null) ok?.click();
    });
  }

  getValue(): string {
    return this.node.querySelector<HTMLInputElement>("input:checked")?.value ?? "";
  }
}

function row({ name, title, summary }: Lesson): HTMLElement {
  const input = Object.assign(document.createElement("input"), {
    type: "radio",
    name: "sdl-lesson",
    value: name,
  });
  const [label, words, small] = ["label", "span", "small"].map((tag) =>
    document.createElement(tag),
  ) as [HTMLElement, HTMLElement, HTMLElement];
  small.textContent = summary;
  words.append(title, small);
  label.append(input, words);
  return label;
}
