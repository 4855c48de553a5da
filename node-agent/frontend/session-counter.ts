import { readFile } from 'node:fs/promises';
import { DomainError } from '../../core/errors.js';
import type { SessionNumber } from '../../core/types.js';
import { writeFileDurably } from '../durable-file.js';

/** Session numbers that one start of the process may give out before it has to write to the disk again. */
const NUMBERS_PER_START = 2 ** 20;
const MAX_STARTS = Math.floor(Number.MAX_SAFE_INTEGER / NUMBERS_PER_START) - 1;
/** Half of the numbers used up: the next reservation is made in time. */
const RESERVE_AT = NUMBERS_PER_START / 2;

/**
 * Gives session numbers that rise for ever on this node: the number of the process's start, which is durable
 * before the first is given, followed by a count. Runs of NUMBERS_PER_START are reserved ahead of need.
 */
export class SessionCounter {
  readonly #path: string;
  #start: number;
  #used = 0;
  /** The next reserved start, once it is durable. */
  #reserved: number | undefined;
  #reserving = false;

  private constructor(path: string, start: number) {
    this.#path = path;
    this.#start = start;
  }

  /** Errors: DomainError('internal') if the file is damaged; those of the file system. */
  static async open(path: string): Promise<SessionCounter> {
    const start = (await readStart(path)) + 1;
    await writeStart(path, start);
    return new SessionCounter(path, start);
  }

  next(): SessionNumber {
    this.#used++;
    if (this.#used >= RESERVE_AT && this.#reserved === undefined && !this.#reserving) void this.#reserve();
    if (this.#used >= NUMBERS_PER_START) {
      if (this.#reserved === undefined) {
        throw new DomainError('internal', `${this.#path}: session numbers are used up and none could be reserved`);
      }
      this.#start = this.#reserved;
      this.#reserved = undefined;
      this.#used = 1;
    }
    return (this.#start * NUMBERS_PER_START + this.#used) as SessionNumber;
  }

  async #reserve(): Promise<void> {
    this.#reserving = true;
    try {
      await writeStart(this.#path, this.#start + 1);
      this.#reserved = this.#start + 1;
    } catch {
      // `next` tries again, and says so when the numbers run out.
    } finally {
      this.#reserving = false;
    }
  }
}

async function readStart(path: string): Promise<number> {
  let text: string;
  try {
    text = await readFile(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 0;
    throw error;
  }
  const start = Number(text.trim());
  if (/^\d{1,16}\n?$/.test(text) && start <= MAX_STARTS) return start;
  throw new DomainError('internal', `${path} does not hold a number: restore it, or detach all volumes and remove it`);
}

function writeStart(path: string, start: number): Promise<void> {
  return writeFileDurably(path, `${start}\n`, 0o600);
}
