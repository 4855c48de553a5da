import { spanIdOfRun } from '../../core/operation-context.js';
import type { WorkflowEnd } from '../../workflows/sinks.js';
import type { Tracer } from '../tracing/tracer.js';

const WITHOUT_ERROR: ReadonlySet<string> = new Set(['completed', 'continued', 'cancelled']);

/** The span of a workflow that was started within a trace: its activities have named it as theirs already. */
export function recordSpan(tracer: Tracer, end: WorkflowEnd): void {
  const { workflow, workflowId, runId, result, startedMs, endedMs, traceparent } = end;
  if (traceparent === undefined) return;
  tracer.record({
    name: `workflow ${workflow}`,
    kind: 'internal',
    attributes: { 'temporal.workflow.id': workflowId, 'temporal.run.id': runId, result },
    spanId: spanIdOfRun(runId),
    traceparent,
    startedMs,
    endedMs,
    ...(!WITHOUT_ERROR.has(result) && { error: result }),
  });
}
