// Where things are in the module's linear memory. All regions are static: nothing is allocated, the memory
// has its final size from the start, and the host reads these offsets from the module's exports. What the host adds
// behind MEMORY_BYTES is its own: the kernels work there, too, on the regions that a call names.
//
// The compiler puts the constants that the kernels declare with memory.data below all of it; the host checks that.

/** What is bound into checksums, and working values of one call. See the offsets below. */
export const CONTEXT: usize = 0x1000;
/** The volume's id, 16 bytes in RFC 4122 order; the host writes it before a call. */
export const VOLUME_ID: usize = CONTEXT;
/** Results of a call, 32 bytes. */
export const RESULT: usize = CONTEXT + 0x40;
/** A 64-byte AES-XTS key, written by the host for expandKeys, which zeroes it. */
export const KEY: usize = CONTEXT + 0x80;

/** Expanded keys of the volume whose turn it is: bitsliced round keys of the data key, then of the tweak key. */
export const DATA_KEYS: usize = 0x2000;
export const KEYS_BYTES: usize = 15 * 8 * 16;
export const TWEAK_KEYS: usize = DATA_KEYS + KEYS_BYTES;

/** Scratch of the ciphers and of the checksum. */
export const XTS_SCRATCH: usize = 0x3000;
export const XTS_SCRATCH_BYTES: usize = 0x800;
export const XXH3_SECRET: usize = 0x3800;
export const XXH3_SECRET_BYTES: usize = 192;
/** What a checksum is bound to: volume id and the first 24 bytes of the entry. */
export const BINDING: usize = 0x3a00;

/** LZ4 match finder: positions of 8,192 hashes, 16 bits each. */
export const HASH_TABLE: usize = 0x4000;
export const HASH_TABLE_BYTES: usize = 0x4000;

/** Entry table of a request: MAX_BATCH_ENTRIES x 32 bytes. */
export const ENTRIES: usize = 0x8000;
export const ENTRIES_BYTES: usize = 0x4000;

/** Plain and stored bytes of a request. */
export const PLAIN: usize = 0x10000;
export const PLAIN_BYTES: usize = 0x100000;
export const STORED: usize = PLAIN + PLAIN_BYTES;
export const STORED_BYTES: usize = 0x100000;

export const MEMORY_BYTES: usize = STORED + STORED_BYTES;
