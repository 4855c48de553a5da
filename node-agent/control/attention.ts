import { DomainError } from '../../core/errors.js';
import type { Clock, Timer } from '../../core/ports.js';
import type { VolumeId } from '../../core/types.js';
import type { Logger } from '../log.js';

/** Signals for one volume come no faster than this. */
const INTERVAL_MS = 500;
/** While Temporal does not answer. */
const RETRY_MS = 2_000;
/** Signals under way at the same time, of all volumes. */
const MAX_CONCURRENT = 16;

/**
 * Wakes volumes' workflows on behalf of the data plane, which must not wait: at once, then at most every
 * INTERVAL_MS for each volume, again and again while Temporal does not answer. Bounded by the number of volumes.
 */
export class Attention {
  readonly #signal: (volume: VolumeId, reason: string) => Promise<void>;
  readonly #clock: Clock;
  readonly #logger: Logger;
  /** Volumes that want a signal, with the newest reason. */
  readonly #wanted = new Map<VolumeId, string>();
  /** Volumes that were signalled a moment ago, or are being signalled. */
  readonly #resting = new Map<VolumeId, Timer | undefined>();
  #underWay = 0;
  #away = false;
  #stopped = false;

  constructor(options: {
    readonly signal: (volume: VolumeId, reason: string) => Promise<void>;
    readonly clock: Clock;
    readonly logger: Logger;
  }) {
    this.#signal = options.signal;
    this.#clock = options.clock;
    this.#logger = options.logger;
  }

  look(volume: VolumeId, reason: string): void {
    if (this.#stopped) return;
    this.#wanted.set(volume, reason);
    this.#next();
  }

  stop(): void {
    this.#stopped = true;
    this.#wanted.clear();
    for (const timer of this.#resting.values()) timer?.cancel();
    this.#resting.clear();
  }

  #next(): void {
    for (const [volume, reason] of this.#wanted) {
      if (this.#underWay >= MAX_CONCURRENT) return;
      if (this.#resting.has(volume)) continue;
      this.#wanted.delete(volume);
      this.#send(volume, reason);
    }
  }

  #send(volume: VolumeId, reason: string): void {
    this.#underWay++;
    this.#resting.set(volume, undefined);
    this.#signal(volume, reason)
      .then(
        () => {
          if (this.#away) this.#logger.info('Temporal answers again');
          this.#away = false;
          return INTERVAL_MS;
        },
        (err: unknown) => {
          if (!this.#away) this.#logger.warn({ err, volume, reason }, 'volume workflow cannot be woken; trying again');
          this.#away = err instanceof DomainError && err.code === 'controller-unavailable';
          if (!this.#stopped && !this.#wanted.has(volume)) this.#wanted.set(volume, reason);
          return RETRY_MS;
        },
      )
      .then((restMs) => {
        this.#underWay--;
        if (this.#stopped) return;
        const timer = this.#clock.after(restMs, () => {
          this.#resting.delete(volume);
          this.#next();
        });
        this.#resting.set(volume, timer);
        this.#next();
      });
  }
}
