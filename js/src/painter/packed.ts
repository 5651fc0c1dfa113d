// The levels of a mask on their way to the kernel and back: zlib's bytes.

const through = (data: Uint8Array, way: GenericTransformStream) =>
  new Response(new Blob([new Uint8Array(data)]).stream().pipeThrough(way as TransformStream))
    .arrayBuffer()
    .then((made) => new Uint8Array(made));

export const packed = (levels: Uint8Array) => through(levels, new CompressionStream("deflate"));
export const unpacked = (data: Uint8Array) => through(data, new DecompressionStream("deflate"));
