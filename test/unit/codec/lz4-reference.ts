/** LZ4's block format read by the letter (lz4_Block_format.md), byte by byte: slow, and obviously right. */

export function lz4Reference(block: Buffer, options: { capacity?: number; strict?: boolean } = {}): Buffer {
  const capacity = options.capacity ?? Number.POSITIVE_INFINITY;
  const out: number[] = [];
  let at = 0;
  const next = () => {
    const byte = block[at++];
    if (byte === undefined) throw new Error('the stream ends too early');
    return byte;
  };
  const extended = (nibble: number) => {
    let length = nibble;
    if (nibble === 15) {
      let more = 255;
      while (more === 255) {
        more = next();
        length += more;
      }
    }
    return length;
  };
  const room = (length: number) => {
    if (out.length + length > capacity) throw new Error('more output than there is room for');
  };
  let lastMatchStart = Number.NEGATIVE_INFINITY;
  while (true) {
    const token = next();
    const literals = extended(token >> 4);
    if (at + literals > block.length) throw new Error('literals end too early');
    room(literals);
    for (let i = 0; i < literals; i++) out.push(next());
    if (at === block.length) {
      // What an encoder must keep to, so that every decoder may rely on it.
      if (options.strict && lastMatchStart >= 0 && (literals < 5 || out.length - lastMatchStart < 12)) {
        throw new Error('the end-of-block conditions are not kept');
      }
      return Buffer.from(out);
    }
    const offset = next() | (next() << 8);
    if (offset === 0 || offset > out.length) throw new Error(`offset ${offset} at ${out.length}`);
    const length = extended(token & 15) + 4;
    room(length);
    lastMatchStart = out.length;
    for (let i = 0; i < length; i++) out.push(out[out.length - offset]!);
  }
}

const FRAME_MAGIC = 0x184d2204;
/** Version 1, independent blocks, no checksums; blocks of at most 64 KiB; and the checksum of these two bytes. */
const FRAME_DESCRIPTOR = [0x60, 0x40, 0x82];

/** One block as an .lz4 file (lz4_Frame_format.md). */
export function lz4Frame(block: Buffer): Buffer {
  const head = Buffer.alloc(11);
  head.writeUInt32LE(FRAME_MAGIC, 0);
  head.set(FRAME_DESCRIPTOR, 4);
  head.writeUInt32LE(block.length, 7);
  return Buffer.concat([head, block, Buffer.alloc(4)]);
}
