// A sweep: the grid of its images as they are made, how far it is, and each image one click away.

import type { AnyModel, Initialize, Render } from "@anywidget/types";
import { choice } from "./lib/controls";
import { aria, h, on, write } from "./lib/dom";
import { Kernel } from "./lib/kernel";
import { isShortcut, keepKeys } from "./lib/keys";
import { clamp } from "./lib/numbers";
import { bar } from "./sweep/bar";
import { detail } from "./sweep/detail";
import { grid, type Look, SIZES, type Size, tabs } from "./sweep/grid";
import { pair } from "./sweep/pair";
import { sizes } from "./sweep/places";
import { type Model, type News, stores } from "./sweep/store";
import "./sweep.css";

export type { Model } from "./sweep/store";

const COMPARE = "Compare with which image? Choose it, or press Compare again.";

let panels = 0; // ids of the tabs' panels

function sweepView(model: AnyModel<Model>, el: HTMLElement): () => void {
  const store = stores.of(model);
  let look: Look = { tab: 0, size: "M", score: -1, sorted: false };
  let comparing = false;

  // -------------------------------------------------------------------------------- the parts

  const run = bar(store, () => kernel);
  const id = `sdw-s-panel-${++panels}`;
  const tabRow = tabs((tab) => change({ tab }), id);
  const cells = grid(store, { pick, turn: (by) => change({ tab: look.tab + by }) });
  cells.element.id = id;
  const point = detail(store, {
    use: (index) => store.send("use", { point: index }),
    compare() {
      comparing = !comparing;
      showPoint();
    },
    say: (message) => run.tell(message),
  });
  const two = pair(store, () => apart());
  const hint = h("p", { class: "sdw-s-hint", role: "status" });

  const size = choice<Size>(
    "Size of the images",
    (Object.keys(SIZES) as Size[]).map((value) => ({
      value,
      label: [value],
      title: { S: "Small images", M: "Medium images", L: "Large images" }[value],
    })),
    (value) => change({ size: value }),
  );
  const scoreList = h("select", { class: "sdw-s-select", "aria-label": "Score" });
  on(scoreList, "change", () => change({ score: Number(scoreList.value), sorted: false }));
  const sort = h("button", { class: "sdw-button", "aria-pressed": "false" }, "Sort");
  sort.title = "The highest score first";
  on(sort, "click", () => change({ sorted: !look.sorted }));
  const scoring = h("div", { class: "sdw-s-scoring", hidden: true }, scoreList, sort);
  const saving = ([kind, words, title]: readonly ["table" | "sheet", string, string]) => {
    const button = h("button", { class: "sdw-button", title }, words);
    on(button, "click", () => {
      if (button.getAttribute("aria-disabled") !== "true") store.send(kind);
    });
    return button;
  };
  const saves = [
    saving(["sheet", "Save contact sheet", "Save all images on a sheet with labels, as a PNG"]),
    saving(["table", "Save CSV", "Save the settings and scores of all images as a table"]),
  ];

  el.classList.add("sdw", "sdw-sweep");
  el.replaceChildren(
    run.element,
    h(
      "div",
      "sdw-s-tools",
      tabRow.element,
      h("div", "sdw-s-looks", scoring, size.element, h("div", "sdw-s-saves", ...saves)),
    ),
    h("div", "sdw-s-body", h("div", "sdw-s-left", cells.element, hint), point.element),
    two.element,
  );

  // --------------------------------------------------------------------------- what is chosen

  function pick(index: number, second: boolean) {
    const other = point.point;
    const isPair = other !== undefined && other !== index;
    if (isPair && (comparing || second)) {
      if (store.state(index) !== "done" || store.state(other) !== "done") return;
      comparing = false;
      two.compare([other, index]);
      store.send("compare", { points: [other, index] });
    } else {
      point.open(index);
    }
    showPoint();
  }

  /** Ends a comparison, the kernel's own, too. */
  function apart() {
    two.compare([]);
    store.send("apart");
    showPoint();
  }

  function change(next: Partial<Look>) {
    const [, , count] = sizes(store.axes);
    look = { ...look, ...next };
    look.tab = clamp(look.tab, 0, count - 1);
    if (look.score < 0) look.sorted = false;
    draw();
  }

  // ----------------------------------------------------------------------------- what is shown

  const showPoint = () => {
    point.show(comparing);
    two.show();
    const chosen = point.point === undefined ? [] : [point.point];
    cells.choose([...chosen, ...two.points]);
    write(hint, comparing ? COMPARE : "");
    el.toggleAttribute("data-comparing", comparing);
  };
  const draw = () => {
    const [, , third] = store.axes;
    tabRow.element.hidden = third === undefined || look.sorted;
    tabRow.fill(third?.name ?? "", third?.values ?? []);
    tabRow.show(look.tab);
    size.show(look.size);
    const names = store.scoreNames;
    scoring.hidden = names.length === 0;
    if (scoreList.options.length !== names.length + 1) {
      scoreList.replaceChildren(
        h("option", { value: -1 }, "no score"),
        ...names.map((name, i) => h("option", { value: i }, name)),
      );
    }
    scoreList.value = String(look.score);
    aria(sort, "pressed", look.sorted);
    sort.hidden = look.score < 0;
    cells.draw(look);
    showPoint();
    showRun();
  };
  const showRun = () => {
    run.show();
    const { state } = store.run;
    const { done, failed } = store.progress;
    el.dataset.state = state;
    el.dataset.done = String(done);
    el.dataset.failed = String(failed);
    el.dataset.kernel = kernel.here;
    const none = done === 0 || kernel.lost || kernel.here === "silent";
    for (const button of saves) aria(button, "disabled", none);
  };
  const take = (news: News) => {
    if (news.what === "plan") {
      comparing = false;
      point.open(undefined);
      two.compare([]);
      change({ tab: 0, score: -1 });
    } else if (news.what === "shape") draw();
    else if (news.what === "points") {
      cells.show(news.points);
      const index = point.point;
      // what is open has been made by now, or has failed
      if (index !== undefined && news.points?.includes(index)) point.open(index);
      showPoint();
    } else if (news.what === "point") showPoint();
    else if (news.what === "told") run.tell(news.message);
    else showRun();
  };

  on(el, "keydown", (event) => {
    if (event.key !== "Escape" || isShortcut(event)) return;
    if (!comparing && two.points.length === 0) return;
    const ends = !comparing;
    comparing = false;
    event.stopPropagation();
    if (ends) apart();
    else showPoint();
  });
  const kernel = new Kernel(model as unknown as AnyModel, () => showRun());
  const leave = store.onNews(take);
  const freeKeys = keepKeys(el);
  draw();
  return () => {
    leave();
    freeKeys();
    kernel.remove();
    run.remove();
    cells.remove();
    point.remove();
    two.remove();
  };
}

const initialize: Initialize<Model> = ({ model }) => {
  stores.of(model);
  return () => stores.forget(model);
};

const render: Render<Model> = ({ model, el }) => sweepView(model, el);

export default { initialize, render };
