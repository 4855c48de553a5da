import { type Logger, pino, stdTimeFunctions } from 'pino';

import type { RecentLines } from './diagnostics/recent-lines.js';

export type { Logger };

/** The agent's logger: one JSON object a line on standard output; `recent` remembers the last of them. */
export function createLogger(options: { level: string; node: string; recent?: RecentLines }): Logger {
  const { recent } = options;
  return pino({
    level: options.level,
    base: { node: options.node },
    timestamp: stdTimeFunctions.isoTime,
    ...(recent !== undefined && {
      hooks: {
        streamWrite: (line: string) => {
          recent.add(line);
          return line;
        },
      },
    }),
    formatters: { level: (label) => ({ level: label }) },
  });
}
