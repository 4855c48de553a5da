import { DomainError } from './errors.js';

const UNIT_MS: Readonly<Record<string, number>> = {
  ns: 1e-6,
  us: 1e-3,
  µs: 1e-3,
  μs: 1e-3,
  ms: 1,
  s: 1_000,
  m: 60_000,
  h: 3_600_000,
};

/**
 * A duration in the syntax of Go's time.ParseDuration (`300ms`, `1.5h`, `2h45m`; `0` needs no unit), in milliseconds.
 * Errors: DomainError('invalid') for any other text, and for a negative duration.
 */
export function parseDurationMs(text: string): number {
  if (text === '0' || text === '+0') return 0;
  const parts = /^\+?((?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+$/;
  if (text.length > 64 || !parts.test(text)) {
    throw new DomainError('invalid', `"${text.slice(0, 64)}" is not a duration; write it like 90s, 1m30s or 500ms`);
  }
  let total = 0;
  for (const [, value, unit] of text.matchAll(/(\d+\.?\d*|\.\d+)(ns|us|µs|μs|ms|s|m|h)/g)) {
    total += Number(value) * (UNIT_MS[unit ?? ''] ?? 0);
  }
  return total;
}
