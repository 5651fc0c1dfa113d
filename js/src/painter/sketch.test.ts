import { expect, test, vi } from "vitest";
import { FakeModel } from "../../test/model";
import { packed, unpacked } from "./packed";
import { put } from "./plane";
import { Sketch } from "./sketch";

const [WIDTH, HEIGHT] = [6, 4];

class Painter extends FakeModel {
  readonly data: ArrayBuffer[] = [];
  override send(message: Record<string, unknown>, _?: unknown, buffers: ArrayBuffer[] = []) {
    super.send(message);
    this.data.push(...buffers);
  }
}

const painterModel = () =>
  new Painter({
    shown: 1,
    width: WIDTH,
    height: HEIGHT,
    painted: new Uint8Array(),
    stamp: ["", 0],
    undos: 0,
    redos: 0,
  });

async function ready(model: Painter) {
  const sketch = new Sketch(model as never);
  await vi.waitFor(() => expect(sketch.ready).toBe(true));
  return sketch;
}

const BOX = { x: 1, y: 1, width: 2, height: 2 };
const full = (level: number, count: number) => new Uint8Array(count).fill(level);
const paint = (sketch: Sketch, level = 255) =>
  sketch.change((plane) => put(plane, BOX, full(level, 4)));
const levels = (sketch: Sketch) => [...sketch.plane.data];
const blank = () => new Uint8Array(WIDTH * HEIGHT);

test("a change is sent as the box that differs, once", async () => {
  const model = painterModel();
  const sketch = await ready(model);
  paint(sketch);
  paint(sketch); // changes nothing
  await vi.waitFor(() => expect(model.sent).toHaveLength(1));
  const wanted = { kind: "mask", number: 1, image: 1, box: [1, 1, 2, 2], last: true };
  expect(model.sent[0]).toMatchObject(wanted);
  expect([...(await unpacked(new Uint8Array(model.data[0] as ArrayBuffer)))]).toEqual([
    255, 255, 255, 255,
  ]);
});

test("the kernel's mask is taken over, but not while it has yet to hear of a change", async () => {
  const model = painterModel();
  const sketch = await ready(model);
  const other = blank().fill(9);
  model.change({ painted: await packed(other) });
  await vi.waitFor(() => expect(levels(sketch)).toEqual([...other]));
  paint(sketch);
  const mine = levels(sketch);
  await vi.waitFor(() => expect(model.sent).toHaveLength(1));
  model.change({ painted: await packed(blank().fill(7)), stamp: ["another", 3] });
  expect(levels(sketch)).toEqual(mine);
  // the kernel has heard of it, on top of what the other page did
  const both = await packed(blank().fill(5));
  model.change({ painted: both, stamp: [(model.sent[0] as { page: string }).page, 1] });
  await vi.waitFor(() => expect(levels(sketch)).toEqual([...blank().fill(5)]));
});

test("changes are undone here, and earlier ones in the kernel", async () => {
  const model = painterModel();
  const sketch = await ready(model);
  paint(sketch);
  sketch.undo();
  expect(levels(sketch)).toEqual([...blank()]);
  expect(sketch.redos).toBe(1);
  sketch.redo();
  expect(levels(sketch)[WIDTH + 1]).toBe(255);
  await vi.waitFor(() => expect(model.sent).toHaveLength(3));
  sketch.undo();
  sketch.undo();
  expect(model.sent.at(-1)).toEqual({ kind: "undo" });
});

test("what is cancelled is neither seen nor sent", async () => {
  const model = painterModel();
  const sketch = await ready(model);
  expect([sketch.begin(), sketch.begin()]).toEqual([true, false]);
  put(sketch.plane, BOX, full(255, 4));
  sketch.cancel();
  expect([levels(sketch), sketch.undos, model.sent]).toEqual([[...blank()], 0, []]);
});

test("another image begins anew; removed, it listens to nothing", async () => {
  const model = painterModel();
  const sketch = await ready(model);
  paint(sketch);
  model.change({ shown: 2, width: 3, height: 2, painted: new Uint8Array() });
  await vi.waitFor(() => expect(sketch.ready).toBe(true));
  expect([levels(sketch), sketch.undos]).toEqual([[0, 0, 0, 0, 0, 0], 0]);
  sketch.remove();
  expect(model.listening).toBe(0);
});
