// Elements from nested calls. Text always becomes a text node, so nothing in it is ever markup.

type Attributes = Record<string, string | number | boolean>;

/** An element; `attributes` may be its class alone. A button never submits. */
export function h<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Attributes | string = {},
  ...children: (Node | string)[]
): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  if (tag === "button") element.setAttribute("type", "button");
  const named = typeof attributes === "string" ? { class: attributes } : attributes;
  for (const [name, value] of Object.entries(named)) {
    if (value !== false) element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children);
  return element;
}

/** An element of a drawing. */
export function svg<K extends keyof SVGElementTagNameMap>(
  tag: K,
  attributes: Record<string, string> = {},
): SVGElementTagNameMap[K] {
  const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}

/** Sets the text only where it changed: a live region must not be read out again. */
export function write(element: HTMLElement, text: string) {
  if (element.textContent !== text) element.textContent = text;
}

/** Calls `handler` at each event of that type. */
export function on<K extends keyof HTMLElementEventMap>(
  element: HTMLElement | SVGElement,
  type: K,
  handler: (event: HTMLElementEventMap[K]) => void,
  options?: AddEventListenerOptions,
) {
  element.addEventListener(type, handler as EventListener, options);
}

/** Sets aria-<name>. */
export function aria(element: Element, name: string, value: string | boolean | number) {
  element.setAttribute(`aria-${name}`, String(value));
}

/** Sets --sdw-<name> of its style. */
export function vary(element: HTMLElement, name: string, value: string | number) {
  element.style.setProperty(`--sdw-${name}`, String(value));
}
