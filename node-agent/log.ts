/** The agent's log: structured lines on standard output, whose level and form can be changed while it runs. */

import { inspect } from 'node:util';
import { type Logger, pino, stdTimeFunctions } from 'pino';
import type { RecentLines } from './diagnostics/recent-lines.js';
import { currentContext } from './operation-context.js';

export type { Logger };

export type LogLevel = 'debug' | 'info' | 'warn' | 'error' | 'silent';
/** `json`: one object a line. `default`: for people. */
export type LogFormat = 'default' | 'json';

export interface LogSettings {
  readonly level: LogLevel;
  readonly format: LogFormat;
}

export interface LogOptions {
  readonly level: LogLevel;
  /** `json` by default. */
  readonly format?: LogFormat;
  readonly node: string;
  /** Remembers the last lines, always as JSON. */
  readonly recent?: RecentLines;
}

export interface AgentLog {
  readonly logger: Logger;
  /** Takes effect at once, in the loggers that were made from this one too. */
  configure(settings: LogSettings): void;
}

export function createLog({ level, format = 'json', node, recent }: LogOptions): AgentLog {
  let form = format;
  // A logger that was made from another keeps a level of its own.
  const children = new Set<WeakRef<Logger>>();
  const gone = new FinalizationRegistry<WeakRef<Logger>>((reference) => children.delete(reference));
  const logger = pino({
    level,
    base: { node },
    timestamp: stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    mixin: contextFields,
    onChild: (child) => {
      const reference = new WeakRef(child as Logger);
      children.add(reference);
      gone.register(child, reference);
    },
    hooks: {
      streamWrite: (line) => {
        recent?.add(line);
        return form === 'json' ? line : formatLine(line);
      },
    },
  });
  return {
    logger,
    configure(settings) {
      form = settings.format;
      logger.level = settings.level;
      for (const reference of children) {
        const child = reference.deref();
        if (child !== undefined) child.level = settings.level;
      }
    },
  };
}

/** A log whose settings stay. */
export function createLogger(options: LogOptions): Logger {
  return createLog(options).logger;
}

/** For whom the line is written, if for anybody. */
function contextFields(): object {
  const context = currentContext();
  if (context === undefined) return {};
  const { requestId, operation, traceparent } = context;
  return {
    ...(requestId !== undefined && { requestId }),
    ...(operation !== undefined && { operation }),
    ...(traceparent !== undefined && { traceId: traceparent.split('-')[1] }),
  };
}

/** `2026-01-02T03:04:05.678Z INFO  [node-1] agent ready nodeId=…`, and the stack of an error below it. */
export function formatLine(line: string): string {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line);
  } catch {
    return line;
  }
  const { time, level, node, msg = '', err, ...rest } = fields;
  const pairs = Object.entries(rest).map(([key, value]) => `${key}=${formatValue(value)}`);
  const stack = (err as { readonly stack?: unknown } | undefined)?.stack;
  const head = `${time} ${String(level).toUpperCase().padEnd(5)} [${node}] ${[msg, ...pairs].join(' ')}`;
  const below = typeof stack === 'string' ? stack : err === undefined ? undefined : inspect(err);
  return below === undefined ? `${head}\n` : `${head}\n${below.replaceAll(/^/gm, '    ')}\n`;
}

function formatValue(value: unknown): string {
  if (typeof value !== 'string') return JSON.stringify(value);
  return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
}
