// Text put into a field as if it was typed: the widget that owns the field hears of it.

/** Replaces `start` to `end`, so that Ctrl-Z brings it back while the field has the focus. */
export function put(field: HTMLTextAreaElement, start: number, end: number, text: string) {
  field.setSelectionRange(start, end);
  const isTyped =
    document.activeElement === field && document.execCommand?.("insertText", false, text);
  if (isTyped) return; // it tells of itself
  field.setRangeText(text, start, end, "end");
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Replaces the whole text. */
export const setText = (field: HTMLTextAreaElement, text: string) =>
  put(field, 0, field.value.length, text);

/** Adds a word at the caret, with spaces around it. */
export function insert(field: HTMLTextAreaElement, word: string) {
  const { value, selectionStart: start, selectionEnd: end } = field;
  const before = start > 0 && !/\s/.test(value[start - 1] ?? "") ? " " : "";
  const after = end < value.length && !/\s/.test(value[end] ?? "") ? " " : "";
  put(field, start, end, before + word + after);
}

/** Replaces every occurrence of a word that stands alone. */
export function replaceWord(field: HTMLTextAreaElement, word: string, by: string) {
  const literal = word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&");
  const alone = new RegExp(`(?<![\\p{L}\\p{N}_])${literal}(?![\\p{L}\\p{N}_])`, "gu");
  setText(
    field,
    field.value.replace(alone, () => by),
  );
}
