import { type Logger, pino, stdTimeFunctions } from 'pino';

export type { Logger };

/** The agent's logger: one JSON object a line on standard output. */
export function createLogger(options: { level: string; node: string }): Logger {
  return pino({
    level: options.level,
    base: { node: options.node },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}
