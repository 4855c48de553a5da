/**
 * Reads from the page cache that never wait for the disk: preadv2(2) with RWF_NOWAIT, for which Node has no call.
 * It costs what pread costs, and where the bytes are not in memory it says so in microseconds; guessing what is in
 * memory would hold up every volume of the node whenever the guess is wrong.
 */

import { createRequire } from 'node:module';
import type koffi from 'koffi';

/** linux/fs.h */
const RWF_NOWAIT = 8;
/** struct iovec: a pointer and a length of 64 bits. */
const IOVEC_BYTES = 16;
/** Up to here, a copy costs less than finding out where a buffer lies. */
const SCRATCH_BYTES = 16 * 1024;
/** So much at a time: a longer read, even out of memory, is not for the event loop. */
const MAX_CACHED_BYTES = 1024 * 1024;

type Library = typeof koffi;

function loadLibrary(): Library | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    return createRequire(import.meta.url)('koffi') as Library;
  } catch {
    // No build of it for this processor: every read goes through the thread pool.
    return undefined;
  }
}

class PageCache {
  readonly #koffi: Library;
  readonly #preadv2: (fd: number, vectors: Buffer, count: number, position: number, flags: number) => number;
  readonly #scratch = Buffer.allocUnsafeSlow(SCRATCH_BYTES);
  readonly #scratchAddress: bigint;
  readonly #vector = Buffer.alloc(IOVEC_BYTES);

  constructor(library: Library) {
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

const library = loadLibrary();
const cache = library && new PageCache(library);

/** Whether this process can tell what is in memory; otherwise `readCached` never has anything. */
export const canReadCached = cache !== undefined;

/** DiskFile.readCached of an open file. */
export function readCached(fd: number, target: Uint8Array, position: number): boolean {
  return cache !== undefined && target.length <= MAX_CACHED_BYTES && cache.read(fd, target, position);
}
