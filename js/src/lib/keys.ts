// Keys pressed inside a widget belong to the widget: in the notebook `d d` deletes a cell.

import { clamp } from "./numbers";

/** Whether a key is the host's: with Ctrl, Cmd or Alt. */
export const isShortcut = (event: KeyboardEvent) => event.ctrlKey || event.metaKey || event.altKey;

/** While a key's target has this attribute, Lumino (JupyterLab, Notebook 7) ignores the key. */
const SUPPRESS = "data-lm-suppress-shortcuts";

/**
 * Keeps plain keys from the notebook, and calls `onRun`, if given, on Ctrl-Enter (Cmd-Enter).
 * Shift-Enter and other shortcuts with Ctrl, Alt or Cmd still reach the notebook.
 * Returns a function that undoes it.
 */
export function keepKeys(root: HTMLElement, onRun?: () => void): () => void {
  const runs = (event: KeyboardEvent) =>
    onRun && event.key === "Enter" && (event.ctrlKey || event.metaKey) && !event.isComposing;
  const isOurs = (event: KeyboardEvent) =>
    runs(event) || !(isShortcut(event) || (event.shiftKey && event.key === "Enter"));
  // JupyterLab listens where events have bubbled up to the document. Notebook 7 listens in the
  // capture phase, before any element of ours, so the window marks the key's target for it.
  const guard = (event: Event) => {
    const target = event.target as Element;
    if (root.contains(target) && isOurs(event as KeyboardEvent)) target.setAttribute(SUPPRESS, "");
  };
  // In the capture phase, too: text fields stop their keys before they bubble up to the root.
  const run = (event: KeyboardEvent) => {
    (event.target as Element).removeAttribute(SUPPRESS);
    if (!runs(event)) return;
    event.preventDefault();
    event.stopPropagation();
    onRun?.();
  };
  const keep = (event: KeyboardEvent) => {
    if (isOurs(event)) event.stopPropagation();
  };
  const off = new AbortController();
  const early = { capture: true, signal: off.signal };
  window.addEventListener("keydown", guard, early);
  root.addEventListener("keydown", run, early);
  root.addEventListener("keydown", keep, { signal: off.signal });
  return () => off.abort();
}

/**
 * Makes a row of buttons one tab stop; arrows, Home and End move within it.
 * Call the returned function after the buttons change, with the one that Tab should reach; it stays
 * at a button that has the focus.
 */
export function roving(row: HTMLElement): (stop?: HTMLElement) => void {
  const items = () => [...row.querySelectorAll<HTMLElement>("button")];
  const reach = (item: HTMLElement | undefined) => {
    for (const other of items()) other.tabIndex = other === item ? 0 : -1;
  };
  row.addEventListener("keydown", (event) => {
    const all = items();
    const here = all.indexOf(document.activeElement as HTMLElement);
    const next = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: all.length - 1 }[
      event.key
    ];
    if (here < 0 || next === undefined) return;
    event.preventDefault();
    const item = all[clamp(next, 0, all.length - 1)];
    reach(item);
    item?.focus();
  });
  return (stop) => {
    const all = items();
    const focused = all.find((item) => item === document.activeElement);
    reach(focused ?? stop ?? all.find((item) => item.tabIndex === 0) ?? all[0]);
  };
}
