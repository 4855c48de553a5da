import type { Clock, Random, Timer } from '../../core/ports.js';
import type { VolumeId } from '../../core/types.js';
import { volumeWorkflowId } from '../../workflows/names.js';
import type { Logger } from '../log.js';

export const SWEEP_INTERVAL_MS = 30_000;
/** The first sweeps come sooner: a new version of the code may have met workflows that it cannot go on with. */
const EARLY_SWEEPS = 4;
const EARLY_INTERVAL_MS = 8_000;

export interface SweeperOptions {
  readonly volumes: () => Iterable<VolumeId>;
  /** Ids of the workflows that run, and of their runs. */
  readonly running: () => Promise<ReadonlyMap<string, string>>;
  /** Of those, ends what does not get on. */
  readonly rescue: (running: ReadonlyMap<string, string>) => Promise<void>;
  readonly look: (volume: VolumeId, reason: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly intervalMs?: number;
}

/**
 * Starts the workflows that should run and don't: Temporal's data may have been lost, its place is taken by
 * what etcd says. Every control node does it; starting a workflow that runs only wakes it. The first sweep wakes all:
 * a workflow that the code of this node cannot go on with is to be found before it is needed.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  #timer: Timer | undefined;
  #stopped = false;
  #sweeps = 0;

  constructor(options: SweeperOptions) {
    this.#options = options;
    this.#schedule(0);
  }

  stop(): void {
    this.#stopped = true;
    this.#timer?.cancel();
  }

  #schedule(baseMs: number): void {
    if (this.#stopped) return;
    const { clock, random, intervalMs = SWEEP_INTERVAL_MS } = this.#options;
    // Spread, so that the nodes don't all do it at the same time.
    const jitterMs = (random.next() * intervalMs) / 5;
    this.#timer = clock.after(baseMs + jitterMs, () => {
      this.#sweep()
        .catch((err: unknown) => this.#options.logger.debug({ err }, 'volumes without workflow not looked for'))
        .finally(() =>
          this.#schedule(this.#sweeps <= EARLY_SWEEPS ? Math.min(EARLY_INTERVAL_MS, intervalMs) : intervalMs),
        );
    });
  }

  async #sweep(): Promise<void> {
    const { volumes, running, rescue, look, logger } = this.#options;
    const there = await running();
    this.#sweeps++;
    for (const volume of volumes()) {
      if (!there.has(volumeWorkflowId(volume))) {
        logger.info({ volume }, 'the volume has no workflow: starting it');
        look(volume, 'it had no workflow');
      } else if (this.#sweeps === 1) look(volume, 'a control node has started');
    }
    await rescue(there);
  }
}
