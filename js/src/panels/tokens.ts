// The slots of the text encoder: the prompt's tokens, and the text that did not fit.

import { aria, h, write } from "../lib/dom";
import { imageAt, plain } from "../lib/heat";
import { times } from "../lib/numbers";
import type { ImageHeader, Panel, View, What } from "../lib/view";
import { TITLES, wordButton, wordRow } from "./chips";
import "../attention.css";

interface Slot {
  text: string;
  token: number;
}

/** The pieces of one word; or a piece of no word, the start, the end, the padding, or the place
 * where a chunk begins. */
interface Group {
  word: string; // "" for a piece of no word
  slots: Slot[];
  kind: "word" | "start" | "end" | "padding" | "piece" | "chunk";
  weight?: number;
  isLearnt?: boolean;
}

/** The slot of a column; in a chunk, pieces have consecutive ones. */
const slotOf = ({ places }: ImageHeader, column: number) => places?.[column] ?? column;

/** Whether piece `i` is the first of a further chunk. */
const begins = (picture: ImageHeader, i: number) =>
  i > 0 && slotOf(picture, i + 1) > slotOf(picture, i) + 1;

export function groups(picture: ImageHeader): Group[] {
  const { pieces, words, slots, weights, learnt } = picture;
  const owner = new Map(
    words.flatMap((word) => word.tokens.map((token) => [token, word] as const)),
  );
  const out: Group[] = [{ word: "<start>", slots: [{ text: "start", token: 0 }], kind: "start" }];
  let before: unknown;
  let chunk = 1;
  pieces.forEach((piece, i) => {
    if (begins(picture, i)) {
      out.push({ word: "", slots: [{ text: `chunk ${++chunk}`, token: -1 }], kind: "chunk" });
      before = undefined;
    }
    const isLearnt = Boolean(learnt?.[i]);
    const word = owner.get(i + 1);
    const text = isLearnt && word === before ? "·" : piece;
    const slot = { text, token: slotOf(picture, i + 1) };
    const how = { weight: weights?.[i] ?? 1, isLearnt };
    if (word && word === before) out.at(-1)?.slots.push(slot);
    else if (word) out.push({ word: word.text, slots: [slot], kind: "word", ...how });
    else out.push({ word: "", slots: [slot], kind: "piece", ...how });
    before = word;
  });
  const end = slotOf(picture, pieces.length + 1);
  out.push({ word: "<end>", slots: [{ text: "end", token: end }], kind: "end" });
  const rest = times(Math.max(slots - end - 1, 0), (k) => end + 1 + k);
  if (rest.length > 0) {
    const padding = rest.map((token) => ({ text: "", token }));
    out.push({ word: "<padding>", slots: padding, kind: "padding" });
  }
  return out;
}

/** Every slot in order. The pieces of a word are joined; they are pointed at and pinned as one. */
export function tokens(view: View): Panel {
  const row = wordRow(view, "Slots of the text encoder", "sdw-slots");
  const count = h("p", "sdw-hint-quiet");
  const cut = h("bdi", "sdw-cut-text");
  const element = h(
    "section",
    { class: "sdw-tokens", "aria-label": "Tokens" },
    h("div", "sdw-attention-header", h("p", "sdw-title", "tokens"), count),
    row.element,
    h("p", "sdw-cut", "cut, so the network never saw it: ", cut),
  );

  const update = (what: What) => {
    const { reel, selection } = view;
    const picture = reel.header?.pictures[imageAt(reel.header, selection.picture)];
    if (what !== "hover") {
      row.fill(JSON.stringify(picture ?? ""), () => (picture ? groups(picture).map(group) : []));
      write(
        count,
        picture ? `${countWords(picture)}${splitWords(picture)}${encoders(picture)}` : "",
      );
      write(cut, picture?.cut.trim() ?? "");
      element.toggleAttribute("data-cut", Boolean(picture?.cut.trim()));
      element.hidden = !picture && reel.frames.length > 0; // steps of a loop of one's own
    }
    row.mark();
  };
  update("data");
  return { element, update };
}

function group({ word, slots, kind, weight = 1, isLearnt = false }: Group): HTMLElement {
  if (kind === "chunk") return h("span", { class: "sdw-chunk" }, slots[0]?.text ?? "");
  const boxes = slots.map(({ text, token }) => {
    const slot = h("span", "sdw-slot", h("bdi", {}, text), h("small", {}, String(token)));
    return kind === "padding" ? h("span", "sdw-slot-empty") : slot;
  });
  if (weight !== 1) boxes.push(h("span", "sdw-weight", `×${Number(weight.toFixed(2))}`));
  if (word === "") return h("span", { class: "sdw-group", "data-kind": kind }, ...boxes);
  const button = wordButton(word, "sdw-group", ...boxes);
  button.dataset.kind = kind;
  if (kind === "padding") aria(button, "label", nameOf(word, slots)); // the only one without text
  button.toggleAttribute("data-learnt", isLearnt);
  const how = [isLearnt ? vectors(slots.length) : "", weight === 1 ? "" : `weight ${weight}`];
  const name = [nameOf(word, slots), ...how].filter((part) => part !== "").join(", ");
  button.title = TITLES[word as keyof typeof TITLES] ?? name;
  return button;
}

const vectors = (count: number) =>
  `a learnt word of ${count === 1 ? "1 vector" : `${count} vectors`}`;

function nameOf(word: string, slots: Slot[]): string {
  const [first, last] = [slots[0]?.token, slots.at(-1)?.token];
  const where = first === last ? `slot ${first}` : `slots ${first} to ${last}`;
  return `${plain(word)}, ${where}`;
}

/** "12 of 75 tokens": the start and the end of a text take two slots. Neighbours have neither. */
function countWords(picture: ImageHeader): string {
  const { pieces, slots } = picture;
  const chunks = 1 + pieces.filter((_, i) => begins(picture, i)).length;
  if (chunks > 1) return `${pieces.length} tokens in ${chunks} chunks`;
  const most = slots - 2;
  return pieces.length > most ? `${pieces.length} tokens` : `${pieces.length} of ${most} tokens`;
}

/** What two text encoders have of their own: how they fill up. */
function encoders({ padding = [] }: ImageHeader): string {
  return padding.length < 2
    ? ""
    : `; read by ${padding.length} text encoders, which fill up with ${padding.join(" and ")}`;
}

/** A remark on how many words take several tokens. */
function splitWords({ words }: ImageHeader): string {
  const split = words.filter((word) => word.tokens.length > 1).length;
  if (words.length === 0) return "";
  return split === 0
    ? "; every word is one token"
    : `; ${split} of ${words.length} words take several`;
}
