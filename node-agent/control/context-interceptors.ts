/** The context of an operation on its way through Temporal: from a request into workflows, from them into activities. */

import type { Context } from '@temporalio/activity';
import type { WorkflowClientInterceptor } from '@temporalio/client';
import { defaultPayloadConverter, type Headers } from '@temporalio/common';
import type { ActivityInboundCallsInterceptor } from '@temporalio/worker';
import { CONTEXT_HEADER, type OperationContext, parseOperationContext } from '../../core/operation-context.js';
import { currentContext, withContext } from '../operation-context.js';
import type { Tracer } from '../tracing/tracer.js';

function withHeader(headers: Headers): Headers {
  const { requestId, traceparent } = currentContext() ?? {};
  if (requestId === undefined && traceparent === undefined) return headers;
  const context: OperationContext = {
    ...(requestId !== undefined && { requestId }),
    ...(traceparent !== undefined && { traceparent }),
  };
  return { ...headers, [CONTEXT_HEADER]: defaultPayloadConverter.toPayload(context) };
}

/** Calls of Temporal tell for whom they are made. */
export const contextClientInterceptor: WorkflowClientInterceptor = {
  start: (input, next) => next({ ...input, headers: withHeader(input.headers) }),
  startUpdate: (input, next) => next({ ...input, headers: withHeader(input.headers) }),
  startUpdateWithStart: (input, next) =>
    next({
      ...input,
      workflowStartHeaders: withHeader(input.workflowStartHeaders),
      updateHeaders: withHeader(input.updateHeaders),
    }),
};

/** What an activity does and logs, it does and logs for whom its workflow was told to. */
export function contextActivityInterceptor(context: Context, tracer: Tracer): ActivityInboundCallsInterceptor {
  return {
    execute(input, next) {
      const payload = input.headers[CONTEXT_HEADER];
      const given =
        payload === undefined ? undefined : parseOperationContext(defaultPayloadConverter.fromPayload(payload));
      const { activityType, workflowExecution } = context.info;
      const operation = workflowExecution?.workflowId;
      const run = (traceparent: string | undefined) =>
        withContext(
          {
            ...given,
            ...(operation !== undefined && { operation }),
            ...(traceparent !== undefined && { traceparent }),
          },
          () => next(input),
        );
      // What a volume's workflow does by itself, every few seconds, is in no trace.
      if (given?.traceparent === undefined) return run(undefined);
      return tracer.within(
        { name: `activity ${activityType}`, kind: 'internal', attributes: { 'temporal.workflow.id': operation ?? '' } },
        given.traceparent,
        run,
      );
    },
  };
}
