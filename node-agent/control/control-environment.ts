/** What the agent tells its control process, by environment variables. */

import type { LogFormat, LogLevel, LogSettings } from '../log.js';

export interface ControlEnvironment {
  readonly address: string;
  readonly namespace: string;
  /** For logs and the worker's identity. */
  readonly node: string;
  readonly log: LogSettings;
}

/** OpenTelemetry's variables are the same for both processes. */
const TRACING_PREFIX = 'OTEL_';

export function controlEnvironment(
  options: ControlEnvironment,
  env: Readonly<Record<string, string | undefined>>,
): Record<string, string | undefined> {
  const tracing = Object.entries(env).filter(([name]) => name.startsWith(TRACING_PREFIX));
  return {
    PATH: env.PATH,
    HOME: env.HOME,
    ...Object.fromEntries(tracing),
    TEMPORAL_ADDRESS: options.address,
    TEMPORAL_NAMESPACE: options.namespace,
    HOSTNAME: options.node,
    LOG_LEVEL: options.log.level,
    LOG_FORMAT: options.log.format,
  };
}

export function readControlEnvironment(env: Readonly<Record<string, string | undefined>>): ControlEnvironment {
  return {
    address: env.TEMPORAL_ADDRESS ?? '127.0.0.1:7233',
    namespace: env.TEMPORAL_NAMESPACE ?? 'default',
    node: env.HOSTNAME ?? 'control',
    // Written by `controlEnvironment`.
    log: { level: (env.LOG_LEVEL ?? 'info') as LogLevel, format: (env.LOG_FORMAT ?? 'json') as LogFormat },
  };
}
