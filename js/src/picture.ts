// The image as it forms, and the state of the run.

import type { Render } from "@anywidget/types";
import { Kernel } from "./lib/kernel";
import { keepKeys } from "./lib/keys";
import { initialize, type Model, stores } from "./lib/store";
import type { What } from "./lib/view";
import { forming, mark } from "./panels/forming";
import "./picture.css";

const render: Render<Model> = ({ model, el }) => {
  const view = stores.of(model);
  const kernel = new Kernel(model, () => update("data"));
  const shown = forming(view, kernel);
  el.classList.add("sdw", "sdw-picture");
  el.replaceChildren(shown.element);
  const update = (what: What) => {
    shown.update(what);
    mark(el, view, kernel);
  };
  update("data");
  const undo = [view.onChange(update), keepKeys(el), () => shown.remove?.(), () => kernel.remove()];
  return () => {
    for (const each of undo) each();
  };
};

export default { initialize, render };
