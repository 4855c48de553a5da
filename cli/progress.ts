/** Waits for something that the cluster does, and shows on standard error how far it is. */

import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../client/errors.js';
import type { Context } from './context.js';
import { CliError, EXIT } from './errors.js';

const INTERVAL_MS = 500;
/** Copying a volume takes as long as it is large; without `--timeout` a command waits so long. */
const PATIENCE_MS = 3_600_000;
const CLEAR_LINE = '\r\u001b[K';

export interface Step<T> {
  /** How far it is, for people. */
  readonly text: string;
  /** Set when it is done. */
  readonly result?: T;
}

/** A node that does not answer for a while ends nothing: the operation goes on without it. Errors: those of `look`. */
async function lookPatiently<T>(look: () => Promise<Step<T>>): Promise<Step<T>> {
  try {
    return await look();
  } catch (error) {
    const mayPass = error instanceof ApiError && (error.failure !== 'refused' || error.status === 503);
    if (mayPass) return { text: `waiting for an answer: ${error.reason}` };
    throw error;
  }
}

/** Errors: those of `look`; CliError('timed out') when the command's time is over: what was begun goes on. */
export async function waitUntil<T>({ client, streams }: Context, look: () => Promise<Step<T>>): Promise<T> {
  const { err, interactive = false } = streams;
  if (!client.settings.timeoutGiven) client.allowAtLeast(PATIENCE_MS);
  let shown = '';
  for (;;) {
    const { text, result } = await lookPatiently(look);
    if (text !== shown) err(interactive ? `${CLEAR_LINE}${text}` : `${text}\n`);
    shown = text;
    if (result !== undefined) {
      if (interactive) err(CLEAR_LINE);
      return result;
    }
    const { remainingMs } = client;
    if (remainingMs === 0) {
      if (interactive) err('\n');
      throw new CliError(EXIT.timedOut, 'not done within the time limit; it goes on in the background');
    }
    await sleep(Math.min(INTERVAL_MS, remainingMs));
  }
}
