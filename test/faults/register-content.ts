/** What a register client writes to a block: every byte is a function of the round, the write and the block. */

const WORDS_PER_BLOCK = 1024;
export const BLOCK_BYTES = WORDS_PER_BLOCK * 4;
const MAGIC = 0x52454749;
/** Magic, round, write, block. */
const HEADER_WORDS = 4;
const ZEROES = Buffer.alloc(BLOCK_BYTES);

export interface Stamp {
  /** Tells contents of different histories apart; 32 bits, as all of these. */
  readonly round: number;
  readonly write: number;
  readonly block: number;
}

/** Every other write does not compress. */
function fill(words: Uint32Array, { round, write, block }: Stamp): void {
  words.set([MAGIC, round, write, block]);
  let state = (Math.imul(write, 0x9e3779b1) ^ Math.imul(block, 0x85ebca6b) ^ round) >>> 0 || 1;
  for (let i = HEADER_WORDS; i < WORDS_PER_BLOCK; i++) {
    if (write % 2 === 1 || i % 64 === 0) {
      // xorshift32 (Marsaglia 2003)
      state ^= state << 13;
      state ^= state >>> 17;
      state ^= state << 5;
    }
    words[i] = state;
  }
}

/** Of `blocks` blocks from `first` on, of one write. */
export function contentOf(round: number, write: number, first: number, blocks: number): Buffer {
  const words = new Uint32Array(blocks * WORDS_PER_BLOCK);
  for (let i = 0; i < blocks; i++) {
    fill(words.subarray(i * WORDS_PER_BLOCK, (i + 1) * WORDS_PER_BLOCK), { round, write, block: first + i });
  }
  return Buffer.from(words.buffer);
}

/** Number of the write that a block is from, 0 for zeroes; else, in words, what is wrong with it. */
export function writeIn(content: Buffer, round: number, block: number): number | string {
  if (content.equals(ZEROES)) return 0;
  const found = { magic: content.readUInt32LE(0), round: content.readUInt32LE(4), block: content.readUInt32LE(12) };
  const write = content.readUInt32LE(8);
  if (found.magic !== MAGIC) return 'not what any client wrote';
  if (found.round !== round) return `from write ${write} of another round (${found.round})`;
  if (found.block !== block) return `write ${write} of block ${found.block}`;
  return content.equals(contentOf(round, write, block, 1)) ? write : `torn: write ${write}, but not all of it`;
}
