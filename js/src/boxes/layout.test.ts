import { expect, test } from "vitest";
import { FakeModel } from "../../test/model";
import type { NamedBox } from "./geometry";
import { Layout } from "./layout";

const CAT: NamedBox = ["cat", [0.1, 0.2, 0.5, 0.6]];
const DOG: NamedBox = ["dog", [0.3, 0.3, 0.9, 0.9]];

function made(boxes: NamedBox[] = []) {
  const model = new FakeModel({ boxes, stamp: ["", 0], undos: 0, redos: 0 });
  return { model, layout: new Layout(model as never) };
}
/** What the kernel says to the last message of the page. */
const answer = (model: FakeModel, boxes: unknown) => {
  const { page, number } = model.sent.at(-1) as { page: string; number: number };
  model.change({ boxes, stamp: [page, number] });
};

test("a change is seen at once, and sent once", () => {
  const { model, layout } = made();
  layout.drag([CAT]);
  expect([layout.boxes, model.sent]).toEqual([[CAT], []]);
  layout.set([CAT]);
  layout.set([CAT]);
  expect(model.sent).toMatchObject([{ kind: "boxes", number: 1, boxes: [CAT] }]);
});

test("the kernel has the last word, once it has heard", () => {
  const { model, layout } = made();
  layout.set([CAT]);
  model.change({ boxes: [DOG], stamp: ["another page", 3] });
  expect(layout.boxes).toEqual([CAT]);
  answer(model, [DOG, CAT]);
  expect(layout.boxes).toEqual([DOG, CAT]);
});

test("boxes from Python are shown, but not under a hand that drags", () => {
  const { model, layout } = made([CAT]);
  layout.drag([DOG]);
  model.change({ boxes: [CAT, CAT] });
  expect(layout.boxes).toEqual([DOG]);
  layout.cancel();
  expect([layout.boxes, model.sent]).toEqual([[CAT, CAT], []]);
});

test("changes are undone here, and earlier ones in the kernel", () => {
  const { model, layout } = made([CAT]);
  layout.set([CAT, DOG]);
  layout.undo();
  expect([layout.boxes, layout.redos]).toEqual([[CAT], 1]);
  layout.redo();
  expect(layout.boxes).toEqual([CAT, DOG]);
  expect(model.sent.map(({ boxes }) => boxes)).toEqual([[CAT, DOG], [CAT], [CAT, DOG]]);
  layout.undo();
  layout.undo();
  expect(model.sent.at(-1)).toEqual({ kind: "undo" });
});

test("a change after one that was undone takes its place", () => {
  const { layout } = made();
  layout.set([CAT]);
  layout.undo();
  layout.set([DOG]);
  expect(layout.redos).toBe(0);
  layout.undo();
  expect(layout.boxes).toEqual([]);
});

test("removed, it listens to nothing", () => {
  const { model, layout } = made();
  layout.remove();
  expect(model.listening).toBe(0);
});
