/**
 * What Linux can be asked about the page cache, and Node has no call for:
 *
 * - preadv2(2) with RWF_NOWAIT reads what is in memory and never waits for the disk. It costs what pread costs, and
 *   where the bytes are not in memory it says so in microseconds; guessing would hold up every volume of the node
 *   whenever the guess is wrong.
 * - sync_file_range(2) writes a range of a file to the disk without a commit of the file system's journal, which is
 *   what makes a sync expensive, and what makes writes to the same file wait.
 * - posix_fadvise(2) with POSIX_FADV_DONTNEED drops pages that have been written, so that the next write finds memory
 *   that was in use a moment ago (decision 24).
 */

import { loadLibrary, type SystemLibrary } from './system-library.js';

/** linux/fs.h */
const RWF_NOWAIT = 8;
const SYNC_FILE_RANGE_WRITE = 2;
const SYNC_FILE_RANGE_WAIT_AFTER = 4;
/** linux/fadvise.h */
const POSIX_FADV_DONTNEED = 4;
/** struct iovec: a pointer and a length of 64 bits. */
const IOVEC_BYTES = 16;
/** Up to here, a copy costs less than finding out where a buffer lies. */
const SCRATCH_BYTES = 16 * 1024;
/** So much at a time: a longer read, even out of memory, is not for the event loop. */
const MAX_CACHED_BYTES = 1024 * 1024;

class CachedReads {
  readonly #koffi: SystemLibrary;
  readonly #preadv2: (fd: number, vectors: Buffer, count: number, position: number, flags: number) => number;
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  readonly #scratchAddress: bigint;
  readonly #vector = Buffer.alloc(IOVEC_BYTES);

  constructor(library: SystemLibrary) {
    this.#koffi = library;
    this.#preadv2 = library
      .load(null)
      .func('int64_t preadv2(int fd, const void *vectors, int count, int64_t position, int flags)');
    this.#scratchAddress = BigInt(library.address(this.#scratch));
  }

  read(fd: number, target: Uint8Array, position: number): boolean {
    const { length } = target;
    const direct = length > SCRATCH_BYTES;
    this.#vector.writeBigUInt64LE(direct ? BigInt(this.#koffi.address(target)) : this.#scratchAddress, 0);
    this.#vector.writeUInt32LE(length, 8);
    // -1 is EAGAIN, a file system that does not know the flag, or an error, which the read that follows will meet too.
    if (this.#preadv2(fd, this.#vector, 1, position, RWF_NOWAIT) !== length) return false;
    if (!direct) target.set(this.#scratch.subarray(0, length));
    return true;
  }
}

type WriteOut = (
  fd: number,
  position: number,
  length: number,
  drop: boolean,
  settle: (error: NodeJS.ErrnoException | null) => void,
) => void;

function bindWriteOut(library: SystemLibrary): WriteOut {
  const own = library.load(null);
  const writeRange = own.func('int sync_file_range(int fd, int64_t position, int64_t length, unsigned int flags)');
  const advise = own.func('int posix_fadvise(int fd, int64_t position, int64_t length, int advice)');
  const flags = SYNC_FILE_RANGE_WRITE | SYNC_FILE_RANGE_WAIT_AFTER;
  return (fd, position, length, drop, settle) => {
    writeRange.async(fd, position, length, flags, (error: Error | null, result: number) => {
      if (error !== null || result !== 0) {
        settle(Object.assign(new Error('the range could not be written out', { cause: error }), { code: 'EIO' }));
        return;
      }
      // Advice is not owed: whatever comes of it, the range is written.
      if (drop) advise.async(fd, position, length, POSIX_FADV_DONTNEED, () => settle(null));
      else settle(null);
    });
  };
}

/** Without it, reads go through the thread pool, and syncs have all to write. */
const library = loadLibrary();
const cachedReads = library && new CachedReads(library);

/** Whether this process can tell what is in memory; otherwise `readCached` never has anything. */
export const canReadCached = cachedReads !== undefined;

/** DiskFile.readCached of an open file. */
export function readCached(fd: number, target: Uint8Array, position: number): boolean {
  return cachedReads !== undefined && target.length <= MAX_CACHED_BYTES && cachedReads.read(fd, target, position);
}

/** DiskFile.writeOut of an open file, on a thread of the pool; undefined where there is no such call. */
export const startWriteOut: WriteOut | undefined = library && bindWriteOut(library);
