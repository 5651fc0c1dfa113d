// What is wrong with a file, in words: what happened, why, and what to do.

import { bytesIn } from "../../../src/lib/words";
import { Unread } from "../drives/source";
import type { Texts } from "../texts";

export interface Said {
  title: string;
  lines: string[];
}

/** A fault of a file's content, told in the reader's own words. */
const REFUSED = new Set(["RefusedRecord", "RefusedImage"]);

/** The words for an error of opening or reading a file. */
export function wordsFor(error: unknown, trans: Texts): Said {
  const message = error instanceof Error ? error.message : String(error);
  if (error instanceof Unread) return wordsForUnread(error, trans);
  if (error instanceof Error && REFUSED.has(error.name)) {
    return { title: trans.__("This file cannot be shown."), lines: message.split("\n") };
  }
  return {
    title: trans.__("This file cannot be shown."),
    lines: [trans.__("Something went wrong that should not: %1", message)],
  };
}

function wordsForUnread({ why, limit, message }: Unread, trans: Texts): Said {
  const title = trans.__("This file cannot be read.");
  switch (why) {
    case "missing":
      return {
        title: trans.__("The file is not there."),
        lines: [trans.__("It was renamed, moved or deleted. Bring it back, then reload.")],
      };
    case "forbidden":
      return {
        title,
        lines: [trans.__("The server does not allow it. Ask for the right to read the file.")],
      };
    case "changed":
      return {
        title: trans.__("The file has changed while it was open."),
        lines: [
          trans.__("What is shown belongs to the file as it was. Reload to see the new one."),
        ],
      };
    case "large":
      return {
        title: trans.__("The file is too large for its drive."),
        lines: [
          trans.__("The drive gives files only as a whole, at most %1 this way.", bytesIn(limit)),
          trans.__("Copy it to the server's own files, which are read in parts."),
        ],
      };
    case "ruined":
      return {
        title: trans.__("The drive has damaged the file."),
        lines: [
          trans.__("It took the bytes for text and replaced those that are not."),
          trans.__("Copy the file again, with something that leaves its bytes as they are."),
        ],
      };
    case "unreachable":
      return {
        title,
        lines: [
          message === why
            ? trans.__("The server does not answer.")
            : trans.__("The server answered: %1", message),
          trans.__("Check the connection, then reload."),
        ],
      };
  }
}
