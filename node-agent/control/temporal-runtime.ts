/** Temporal's worker library in this process: its logs go through ours. */

import { type LogLevel, type LogMetadata, makeTelemetryFilterString, Runtime } from '@temporalio/worker';
import type { Logger } from '../log.js';

/** Levels as our logger calls them. */
const LEVELS = { TRACE: 'trace', DEBUG: 'debug', INFO: 'info', WARN: 'warn', ERROR: 'error' } as const;
/**
 * The library's core reports every retry of every poll while the server is away, as warnings; that the
 * connection is lost is told once, by whoever runs the worker.
 */
const CORE_LEVELS = { ...LEVELS, INFO: 'debug', WARN: 'debug', ERROR: 'warn' } as const;
/**
 * The library warns of each worker that has no workflows, or no activities: ours are so by design. What it says of a
 * workflow or an activity that failed is its caller's to judge: a user's mistake ends one as well as a fault does.
 */
const WORKER_LEVELS = { ...LEVELS, INFO: 'debug', WARN: 'debug' } as const;
const TASK_LEVELS = { ...LEVELS, INFO: 'debug', WARN: 'info' } as const;

/** The level in our log of what the library says at `level`. */
export function ownLevel(level: LogLevel, meta: LogMetadata): (typeof LEVELS)[LogLevel] {
  if (meta.sdkComponent === 'core') return CORE_LEVELS[level];
  if (meta.sdkComponent !== 'worker') return LEVELS[level];
  return (meta.workflowId === undefined ? WORKER_LEVELS : TASK_LEVELS)[level];
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
