import type { Clock } from '../../core/ports.js';
import type { VolumeId } from '../../core/types.js';
import { volumeOfWorkflow } from '../../workflows/names.js';
import type { Logger } from '../log.js';

/** A workflow whose task was tried so often without success does not get on. */
export const STUCK_ATTEMPTS = 5;
/** Workflows asked for in one sweep; of more, the others in the next ones. */
export const MAX_DESCRIBES = 200;
/** The same volume's workflows are not ended more often than this. */
export const RESCUE_INTERVAL_MS = 60_000;

export interface WorkflowRuns {
  /**
   * How often the task that the run waits for has been begun, this time included; 0 if it waits for none. What no
   * worker takes stays at 1: Temporal counts failures, and workers that took the task and vanished.
   */
  attempts(workflowId: string, runId: string): Promise<number>;
  /** Ends this run, if it still runs. */
  terminate(workflowId: string, runId: string, reason: string): Promise<void>;
}

export interface RescuerOptions {
  readonly runs: WorkflowRuns;
  readonly look: (volume: VolumeId, reason: string) => void;
  readonly clock: Clock;
  readonly logger: Logger;
}

/**
 * Ends runs that don't get on, of volumes' workflows and their children, and wakes the volume, which starts a new
 * one: a workflow knows nothing that it can't read again. Children of a run that was ended go on; until they end,
 * the new run cannot start the same operation a second time. Whoever waits for a child that was ended is told.
 */
export class Rescuer {
  readonly #options: RescuerOptions;
  readonly #rescued = new Map<VolumeId, number>();
  /** The last workflow of the sweep before this one. */
  #last = '';

  constructor(options: RescuerOptions) {
    this.#options = options;
  }

  /** `running`: ids of the workflows and of their runs. */
  async sweep(running: ReadonlyMap<string, string>): Promise<void> {
    const { clock } = this.#options;
    for (const [volume, atMs] of this.#rescued) {
      if (clock.now() - atMs >= RESCUE_INTERVAL_MS) this.#rescued.delete(volume);
    }
    const ids = [...running.keys()].sort();
    const after = ids.findIndex((id) => id > this.#last);
    const first = after === -1 ? 0 : after;
    for (const id of [...ids.slice(first), ...ids.slice(0, first)].slice(0, MAX_DESCRIBES)) {
      this.#last = id;
      const volume = volumeOfWorkflow(id);
      if (volume !== undefined && !this.#rescued.has(volume)) await this.#examine(volume, id, running.get(id)!);
    }
  }

  async #examine(volume: VolumeId, workflowId: string, runId: string): Promise<void> {
    const { runs, look, clock, logger } = this.#options;
    const attempts = await runs.attempts(workflowId, runId);
    if (attempts < STUCK_ATTEMPTS) return;
    await runs.terminate(workflowId, runId, `its task was tried ${attempts} times without success: begun anew`);
    this.#rescued.set(volume, clock.now());
    logger.error(
      { volume, workflowId, runId, attempts },
      'workflow does not get on: its run was ended, to be begun anew',
    );
    look(volume, `${workflowId} did not get on`);
  }
}
