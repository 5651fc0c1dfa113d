// Where the bytes of a file come from.

/** A file's bytes. `read` may be called many times at once; it rejects once the file has changed. */
export interface Source {
  readonly size: number;
  /** The bytes from `from` up to but without `to`; both are within the file. */
  read(from: number, to: number, signal?: AbortSignal): Promise<Uint8Array>;
}

/** A Blob or a File, which is read as it is asked for. */
export function blobSource(blob: Blob): Source {
  return {
    size: blob.size,
    async read(from, to, signal) {
      signal?.throwIfAborted();
      try {
        return new Uint8Array(await blob.slice(from, to).arrayBuffer());
      } catch {
        throw new Error("The file has changed on the disk, or is gone: open it again.");
      }
    },
  };
}
