// A section of the side panel, which its title opens and shuts.

import { aria, h, on } from "../lib/dom";
import type { Host } from "./host";

let count = 0;

/** The section, with `tools` beside its title. */
export function section(host: Host, title: string, body: HTMLElement, ...tools: HTMLElement[]) {
  const id = `sdw-side-${++count}`;
  const mark = h("span", { class: "sdw-side-mark", "aria-hidden": "true" });
  const button = h(
    "button",
    { class: "sdw-side-toggle", "aria-controls": id, "aria-expanded": true },
    mark,
    h("span", "sdw-side-label", title),
  );
  body.id = id;
  const turn = (open: boolean) => {
    aria(button, "expanded", open);
    body.hidden = !open;
    mark.replaceChildren(host.icon(open ? "open" : "shut"));
  };
  on(button, "click", () => turn(body.hidden));
  turn(true);
  const element = h(
    "section",
    { class: "sdw-side-section", "aria-label": title },
    h("div", "sdw-side-head", h("h3", "sdw-side-title", button), ...tools),
    body,
  );
  return element;
}

/** A button that is an icon, with its words for those who do not see it. */
export function iconButton(
  host: Host,
  icon: Parameters<Host["icon"]>[0],
  words: string,
  act: () => void,
) {
  const button = h(
    "button",
    { class: "sdw-side-icon", "aria-label": words, title: words },
    host.icon(icon),
  );
  on(button, "click", () => {
    if (button.getAttribute("aria-disabled") !== "true") act();
  });
  return button;
}

/** Whether a button can be pressed. It keeps the focus, so that keys do not go elsewhere. */
export const allow = (button: HTMLElement, can: boolean) => aria(button, "disabled", !can);
