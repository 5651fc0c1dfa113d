// What is drawn again only if something has changed.

/** A function that says whether the values differ from those of its last call; at first they do. */
export function changes(): (...values: readonly unknown[]) => boolean {
  let last: readonly unknown[] | undefined;
  return (...values) => {
    const same = values.length === last?.length && values.every((value, i) => value === last?.[i]);
    last = values;
    return !same;
  };
}
