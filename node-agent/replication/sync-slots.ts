import { ReplicationError } from '../../core/replication/context.js';

/** Something that goes on and can be ended. */
export interface Running<T> {
  readonly done: Promise<T>;
  cancel(): void;
}

/**
 * The syncs that this node is the source of: only so many copy at a time, as they share its disks and its network.
 * The others wait for their turn, in the order in which they came.
 */
export class SyncSlots {
  readonly #limit: number;
  #running = 0;
  readonly #waiting: (() => void)[] = [];

  constructor(limit: number) {
    this.#limit = limit;
  }

  get waiting(): number {
    return this.#waiting.length;
  }

  /** `begin` is called when there is a slot; what it throws, `done` rejects with. */
  run<T>(begin: () => Running<T>): Running<T> {
    let running: Running<T> | undefined;
    let cancelled = false;
    let giveUp: () => void = () => {};
    const turn = new Promise<void>((resolve, reject) => {
      if (this.#running < this.#limit) {
        this.#running++;
        resolve();
      } else {
        this.#waiting.push(resolve);
        giveUp = () => {
          const place = this.#waiting.indexOf(resolve);
          if (place < 0) return;
          this.#waiting.splice(place, 1);
          reject(new ReplicationError('cancelled', 'cancelled while it waited for its turn'));
        };
      }
    });
    const go = async (): Promise<T> => {
      await turn;
      try {
        if (cancelled) throw new ReplicationError('cancelled', 'cancelled before it began');
        running = begin();
        return await running.done;
      } finally {
        this.#free();
      }
    };
    return {
      done: go(),
      cancel: () => {
        cancelled = true;
        if (running !== undefined) running.cancel();
        else giveUp();
      },
    };
  }

  #free(): void {
    const next = this.#waiting.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}
