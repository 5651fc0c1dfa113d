// The extension's icons, drawn for it. The classes jp-icon... give them the colours of the theme.

import { LabIcon } from "@jupyterlab/ui-components";
import compare from "./icons/compare.svg?text";
import diffusion from "./icons/diffusion.svg?text";
import lesson from "./icons/lesson.svg?text";
import record from "./icons/record.svg?text";

/** The mark of the extension: noise that becomes a disk. */
export const diffusionIcon = new LabIcon({ name: "sdwidgets:diffusion", svgstr: diffusion });

/** A recorded run. */
export const recordIcon = new LabIcon({ name: "sdwidgets:record", svgstr: record });

/** A lesson. */
export const lessonIcon = new LabIcon({ name: "sdwidgets:lesson", svgstr: lesson });

/** Two recorded runs, side by side. */
export const compareIcon = new LabIcon({ name: "sdwidgets:compare", svgstr: compare });
