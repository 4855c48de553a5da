/** For whom a workflow does what it does, carried along by asynchronous calls. */

import { defaultPayloadConverter, type Headers } from '@temporalio/common';
import { AsyncLocalStorage } from '@temporalio/workflow';
import { CONTEXT_HEADER, type OperationContext, parseOperationContext } from '../core/operation-context.js';

const storage = new AsyncLocalStorage<OperationContext | undefined>();

export function withContext<T>(context: OperationContext | undefined, run: () => T): T {
  return storage.run(context, run);
}

/** `run` with the context of this moment, whenever and by whomever it is called. */
export function inPresentContext<T>(run: () => T): () => T {
  const context = storage.getStore();
  return () => storage.run(context, run);
}

export function contextOf(headers: Headers): OperationContext | undefined {
  const payload = headers[CONTEXT_HEADER];
  return payload === undefined ? undefined : parseOperationContext(defaultPayloadConverter.fromPayload(payload));
}

/** Headers with the present context, if there is one: then nothing changes. */
export function withHeader(headers: Headers): Headers {
  const context = storage.getStore();
  if (context === undefined) return headers;
  return { ...headers, [CONTEXT_HEADER]: defaultPayloadConverter.toPayload(context) };
}
