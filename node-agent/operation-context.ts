/** For whom this process does what it does at the moment; log lines and calls of Temporal take it along. */

import { AsyncLocalStorage } from 'node:async_hooks';
import type { OperationContext } from '../core/operation-context.js';

/** What log lines say of it: ids, by their names there. */
export interface ActiveContext extends OperationContext {
  /** Id of the workflow. */
  readonly operation?: string;
}

const storage = new AsyncLocalStorage<ActiveContext>();

export function withContext<T>(context: ActiveContext, run: () => T): T {
  return storage.run(context, run);
}

export function currentContext(): ActiveContext | undefined {
  return storage.getStore();
}
