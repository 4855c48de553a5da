import type { Clock, Random, Timer } from '../../core/ports.js';
import type { VolumeId } from '../../core/types.js';
import { volumeWorkflowId } from '../../workflows/names.js';
import type { Logger } from '../log.js';

export const SWEEP_INTERVAL_MS = 30_000;

export interface SweeperOptions {
  readonly volumes: () => Iterable<VolumeId>;
  /** Workflow ids of the volumes whose workflow runs. */
  readonly running: () => Promise<ReadonlySet<string>>;
  readonly look: (volume: VolumeId, reason: string) => void;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly intervalMs?: number;
}

/**
 * Starts the workflows that should run and don't: Temporal's data may have been lost, its place is taken by
 * what etcd says. Every control node does it; starting a workflow that runs only wakes it.
 */
export class Sweeper {
  readonly #options: SweeperOptions;
  #timer: Timer | undefined;
  #stopped = false;

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
        .finally(() => this.#schedule(intervalMs));
    });
  }

  async #sweep(): Promise<void> {
    const { volumes, running, look, logger } = this.#options;
    const there = await running();
    for (const volume of volumes()) {
      if (there.has(volumeWorkflowId(volume))) continue;
      logger.info({ volume }, 'the volume has no workflow: starting it');
      look(volume, 'it had no workflow');
    }
  }
}
