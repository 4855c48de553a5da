/** Temporal's worker library in this process: its logs go through ours. */

import { ApplicationFailure } from '@temporalio/common';
import { type LogLevel, type LogMetadata, makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import type { ErrorCode } from '../../core/errors.js';
import type { Logger } from '../log.js';

/** Levels as our logger calls them. */
const LEVELS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;
/**
 * The library's core reports every retry of every poll while the server is away, as warnings; that the
 * connection is lost is told once, by whoever runs the worker.
 */
const CORE_LEVELS = { ...LEVELS, INFO: 'debug', WARN: 'debug', ERROR: 'warn' } as const;
/**
 * The library warns of each worker that has no workflows or no activities, which ours are by design, and of every
 * attempt of an activity that fails, which Temporal shows with its reason and tries again.
 */
const WORKER_LEVELS = { ...LEVELS, INFO: 'debug', WARN: 'debug' } as const;
/** A workflow may fail for a user's mistake; whoever waits for it is told. */
const WORKFLOW_LEVELS = { ...LEVELS, INFO: 'debug', WARN: 'info' } as const;

/** A workflow's task that fails: the only message of the core with a failure. More of them say nothing new. */
const MAX_FAILURES = 10;
const FAILURES_INTERVAL_MS = 60_000;
const MAX_FAILURE_CHARACTERS = 500;

/** Lets so many through in each interval. */
export class LogLimit {
  readonly #max: number;
  readonly #intervalMs: number;
  #sinceMs = Number.NEGATIVE_INFINITY;
  #count = 0;
  #suppressed = 0;

  constructor(max: number, intervalMs: number) {
    this.#max = max;
    this.#intervalMs = intervalMs;
  }

  /** How many were not let through since the last one that was; undefined if this one is not. */
  admit(nowMs: number): { readonly suppressed: number } | undefined {
    if (nowMs - this.#sinceMs >= this.#intervalMs) {
      this.#sinceMs = nowMs;
      this.#count = 0;
    }
    if (this.#count >= this.#max) {
      this.#suppressed++;
      return undefined;
    }
    this.#count++;
    const suppressed = this.#suppressed;
    this.#suppressed = 0;
    return { suppressed };
  }
}

/** The level in our log of what the library says at `level`. A defect stays what it is. */
export function ownLevel(level: LogLevel, meta: LogMetadata): (typeof LEVELS)[LogLevel] {
  if (meta.sdkComponent === 'core') return taskFailure(meta) === undefined ? CORE_LEVELS[level] : 'error';
  const { error, workflowId, activityType } = meta as Record<string, unknown>;
  if (meta.sdkComponent !== 'worker' || isDefect(error)) return LEVELS[level];
  return (workflowId !== undefined && activityType === undefined ? WORKFLOW_LEVELS : WORKER_LEVELS)[level];
}

/** Why a workflow's task has failed. */
function taskFailure(meta: LogMetadata): string | undefined {
  const { failure } = meta as Record<string, unknown>;
  return typeof failure === 'string' ? failure.slice(0, MAX_FAILURE_CHARACTERS) : undefined;
}

/** What an activity throws without meaning to comes as 'internal' (activities/failures.ts). */
function isDefect(error: unknown): boolean {
  return error instanceof ApplicationFailure && error.type === ('internal' satisfies ErrorCode);
}

let installed = false;

/** To be called before the first worker is made; later calls change nothing. */
export function installTemporalRuntime(logger: Logger): void {
  if (installed) return;
  installed = true;
  const failures = new LogLimit(MAX_FAILURES, FAILURES_INTERVAL_MS);
  const log = (level: LogLevel, message: string, meta: LogMetadata = {}) => {
    const { error, workflowId, runId, activityType, taskQueue } = meta as Record<string, unknown>;
    const temporal = { workflowId, runId, activityType, taskQueue };
    const failure = meta.sdkComponent === 'core' ? taskFailure(meta) : undefined;
    if (failure === undefined) logger[ownLevel(level, meta)]({ temporal, err: error }, message);
    else {
      const admitted = failures.admit(performance.now());
      if (admitted !== undefined) logger[ownLevel(level, meta)]({ temporal, failure, ...admitted }, message);
    }
  };
  Runtime.install({
    logger: {
      log,
      trace: (message, meta) => log('TRACE', message, meta),
      debug: (message, meta) => log('DEBUG', message, meta),
      info: (message, meta) => log('INFO', message, meta),
      warn: (message, meta) => log('WARN', message, meta),
      error: (message, meta) => log('ERROR', message, meta),
    },
    telemetryOptions: { logging: { filter: makeTelemetryFilterString({ core: 'WARN', other: 'ERROR' }), forward: {} } },
    shutdownSignals: [],
  });
}
