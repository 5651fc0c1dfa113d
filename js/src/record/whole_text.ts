import { isHigh, isLow } from "./python";
import { Fault } from "./refused";

/** The text if all of its characters are whole: UTF-8 has no lone surrogates. */
export function wholeText(name: string, value: string): string {
  let position = 0;
  for (const letter of value) {
    const unit = letter.charCodeAt(0);
    if (letter.length === 1 && (isHigh(unit) || isLow(unit))) {
      const code = unit.toString(16).toUpperCase().padStart(4, "0");
      throw new Fault(
        `${name} has half a character (a lone surrogate, U+${code}) at position ${position}.\n` +
          "Type or paste that character again.",
      );
    }
    position++;
  }
  return value;
}
