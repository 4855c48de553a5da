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

/** The level in our log of what the library says at `level`. A defect stays what it is. */
export function ownLevel(level: LogLevel, meta: LogMetadata): (typeof LEVELS)[LogLevel] {
  if (meta.sdkComponent === 'core') return CORE_LEVELS[level];
  const { error, workflowId, activityType } = meta as Record<string, unknown>;
  if (meta.sdkComponent !== 'worker' || isDefect(error)) return LEVELS[level];
  return (workflowId !== undefined && activityType === undefined ? WORKFLOW_LEVELS : WORKER_LEVELS)[level];
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
  const log = (level: LogLevel, message: string, meta: LogMetadata = {}) => {
    const { error, workflowId, activityType, taskQueue } = meta as Record<string, unknown>;
    logger[ownLevel(level, meta)]({ temporal: { workflowId, activityType, taskQueue }, err: error }, message);
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
