/** Spans of what this process does. Off unless the standard environment variables say where they go. */

export interface SpanOptions {
  readonly name: string;
  readonly kind: 'server' | 'internal';
  readonly attributes?: Readonly<Record<string, string | number>>;
}

/** A span that is over. */
export interface PastSpan extends SpanOptions {
  /** 16 hex digits. */
  readonly spanId: string;
  /** Of the span that it is within. */
  readonly traceparent: string;
  /** Since 1970. */
  readonly startedMs: number;
  readonly endedMs: number;
  /** Undefined if all went well. */
  readonly error?: string;
}

export interface Tracer {
  /**
   * Runs `run` within a span, itself within `parent` or the first of its trace. `run` is given the traceparent for
   * what it causes; without tracing that is `parent`.
   */
  within<T>(options: SpanOptions, parent: string | undefined, run: (traceparent: string | undefined) => T): T;
  record(span: PastSpan): void;
  /** Sends what is still to be sent, within a few seconds. */
  close(): Promise<void>;
}

export const NO_TRACER: Tracer = {
  within: (_options, parent, run) => run(parent),
  record: () => {},
  close: async () => {},
};

type Environment = Readonly<Record<string, string | undefined>>;

/** Whether the environment names a receiver, and nobody has turned tracing off. */
export function tracingWanted(env: Environment): boolean {
  const endpoint = env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT || env.OTEL_EXPORTER_OTLP_ENDPOINT;
  if (!endpoint || env.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return false;
  return env.OTEL_TRACES_EXPORTER !== 'none';
}

/** Loads the tracing library only if it is wanted. */
export async function createTracer(env: Environment, process: { readonly node: string }): Promise<Tracer> {
  if (!tracingWanted(env)) return NO_TRACER;
  const { OtelTracer } = await import('./otel-tracer.js');
  return new OtelTracer(process);
}
