// Keys pressed inside a widget belong to the widget: in the notebook `d d` deletes a cell.

import { clamp } from "./numbers";

/** Whether a key is the host's: with Ctrl, Cmd or Alt. */
export const isShortcut = (event: KeyboardEvent) => event.ctrlKey || event.metaKey || event.altKey;

/**
 * Keeps plain keys from the notebook, and calls `onRun`, if given, on Ctrl-Enter (Cmd-Enter).
 * Shift-Enter and other shortcuts with Ctrl, Alt or Cmd still reach the notebook.
 * Returns a function that undoes it.
 */
export function keepKeys(root: HTMLElement, onRun?: () => void): () => void {
  // In the capture phase: text fields stop their keys before they bubble up to the root.
  const run = (event: KeyboardEvent) => {
    if (onRun === undefined) return;
    if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey) || event.isComposing) return;
    event.preventDefault();
    event.stopPropagation();
    onRun();
  };
  const keep = (event: KeyboardEvent) => {
    if (isShortcut(event)) return;
    if (event.shiftKey && event.key === "Enter") return;
    event.stopPropagation();
  };
  root.addEventListener("keydown", run, true);
  root.addEventListener("keydown", keep);
  return () => {
    root.removeEventListener("keydown", run, true);
    root.removeEventListener("keydown", keep);
  };
}

/**
 * Makes a row of buttons one tab stop; arrows, Home and End move within it.
 * Call the returned function after the buttons change, with the one that Tab should reach.
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
    reach(stop ?? all.find((item) => item.tabIndex === 0) ?? all[0]);
  };
}
