/** fallocate(2), which Node has no call for: room for a file that grows, without any change to be seen in it. */

import { loadLibrary } from './system-library.js';

/** linux/falloc.h: the file stays as long as it is. */
const FALLOC_FL_KEEP_SIZE = 1;
/** errno.h */
const EINTR = 4;
const ENOSPC = 28;
const EDQUOT = 122;
const EOPNOTSUPP = 95;

type Allocate = (
  fd: number,
  position: number,
  length: number,
  settle: (error: NodeJS.ErrnoException | null, reserved?: boolean) => void,
) => void;

function bind(): Allocate | undefined {
  const library = loadLibrary();
  if (library === undefined) return undefined;
  const call = library.load(null).func('int fallocate(int fd, int mode, int64_t position, int64_t length)');
  const allocate: Allocate = (fd, position, length, settle) => {
    call.async(fd, FALLOC_FL_KEEP_SIZE, position, length, (error: Error | null, result: number) => {
      if (error === null && result === 0) return settle(null, true);
      const number = error === null ? library.errno() : 0;
      // A signal came, on tmpfs for one: nothing is wrong.
      if (number === EINTR) return allocate(fd, position, length, settle);
      if (number === EOPNOTSUPP) return settle(null, false);
      const code = number === ENOSPC ? 'ENOSPC' : number === EDQUOT ? 'EDQUOT' : 'EIO';
      settle(Object.assign(new Error(`fallocate failed (errno ${number})`, { cause: error }), { code }));
    });
  };
  return allocate;
}

/**
 * DiskFile.reserve of an open file, on a thread of the pool. Settles with false where there is no such call, or the
 * file system has not got it.
 */
export const preallocate: Allocate =
  bind() ?? ((_fd, _position, _length, settle) => queueMicrotask(() => settle(null, false)));
