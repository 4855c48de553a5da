/** A Temporal worker that is there whenever the server is. */

import { NativeConnection, Worker, type WorkerOptions } from '@temporalio/worker';
import type { Logger } from '../log.js';

const FIRST_RETRY_MS = 500;
const MAX_RETRY_MS = 10_000;

export interface SupervisedWorkerOptions {
  readonly name: string;
  readonly address: string;
  readonly namespace: string;
  readonly worker: Omit<WorkerOptions, 'connection' | 'namespace'>;
  readonly logger: Logger;
}

/**
 * Connects, polls, and begins anew if the server is not there yet or the worker fails. A server that goes away
 * later is waited for by the worker itself.
 */
export class SupervisedWorker {
  readonly #options: SupervisedWorkerOptions;
  readonly #ended: Promise<void>;
  #worker: Worker | undefined;
  #stopped = false;
  #wake: () => void = () => {};

  constructor(options: SupervisedWorkerOptions) {
    this.#options = options;
    this.#ended = this.#run();
  }

  /** Resolves when the running tasks have ended or their grace time is over. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#wake();
    if (this.#worker?.getState() === 'RUNNING') this.#worker.shutdown();
    await this.#ended;
  }

  async #run(): Promise<void> {
    const { name, address, namespace, worker: options, logger } = this.#options;
    let retryMs = FIRST_RETRY_MS;
    while (!this.#stopped) {
      let connection: NativeConnection | undefined;
      try {
        connection = await NativeConnection.connect({ address });
        this.#worker = await Worker.create({ ...options, connection, namespace });
        logger.info({ worker: name, taskQueue: options.taskQueue }, 'Temporal worker polls');
        retryMs = FIRST_RETRY_MS;
        if (!this.#stopped) await this.#worker.run();
      } catch (err) {
        const level = retryMs === FIRST_RETRY_MS ? 'warn' : 'debug';
        logger[level]({ worker: name, address, err }, 'Temporal worker does not run; trying again');
      }
      this.#worker = undefined;
      await connection?.close().catch((err: unknown) => logger.debug({ worker: name, err }, 'connection not closed'));
      if (this.#stopped) return;
      await this.#pause(retryMs);
      retryMs = Math.min(retryMs * 2, MAX_RETRY_MS);
    }
  }

  #pause(ms: number): Promise<void> {
    return new Promise((resolve) => {
      const timer = setTimeout(resolve, ms);
      this.#wake = () => {
        clearTimeout(timer);
        resolve();
      };
    });
  }
}
