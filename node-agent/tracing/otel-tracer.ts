/**
 * Spans by OpenTelemetry, sent by OTLP over HTTP. Where, how many and under which name say the standard environment
 * variables (OTEL_EXPORTER_OTLP_*, OTEL_TRACES_SAMPLER*, OTEL_BSP_*, OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES).
 */

import { type Context, ROOT_CONTEXT, type Span, SpanKind, SpanStatusCode, trace } from '@opentelemetry/api';
import { OTLPTraceExporter } from '@opentelemetry/exporter-trace-otlp-http';
import { defaultResource, detectResources, envDetector, resourceFromAttributes } from '@opentelemetry/resources';
import {
  BasicTracerProvider,
  BatchSpanProcessor,
  type IdGenerator,
  RandomIdGenerator,
} from '@opentelemetry/sdk-trace-base';
import { isTraceparent } from '../../core/operation-context.js';
import type { PastSpan, SpanOptions, Tracer } from './tracer.js';

const SERVICE_NAME = 'storageos';
const CLOSE_TIMEOUT_MS = 3_000;
const KINDS = { server: SpanKind.SERVER, internal: SpanKind.INTERNAL } as const;

/** Ids at random, except for the span of a workflow, which others know already. */
class Ids implements IdGenerator {
  /** Of the span that is begun next. */
  nextSpanId: string | undefined;
  readonly #random = new RandomIdGenerator();

  generateTraceId(): string {
    return this.#random.generateTraceId();
  }

  generateSpanId(): string {
    const id = this.nextSpanId ?? this.#random.generateSpanId();
    this.nextSpanId = undefined;
    return id;
  }
}

function contextOf(traceparent: string | undefined): Context {
  if (!isTraceparent(traceparent)) return ROOT_CONTEXT;
  const [, traceId = '', spanId = '', flags = '00'] = traceparent.split('-');
  return trace.setSpanContext(ROOT_CONTEXT, {
    traceId,
    spanId,
    traceFlags: Number.parseInt(flags, 16),
    isRemote: true,
  });
}

function traceparentOf(span: Span): string {
  const { traceId, spanId, traceFlags } = span.spanContext();
  return `00-${traceId}-${spanId}-${traceFlags.toString(16).padStart(2, '0')}`;
}

function fail(span: Span, error: unknown): void {
  const message = error instanceof Error ? error.message : String(error);
  span.setStatus({ code: SpanStatusCode.ERROR, message });
}

export class OtelTracer implements Tracer {
  readonly #ids = new Ids();
  readonly #provider: BasicTracerProvider;
  readonly #tracer: ReturnType<BasicTracerProvider['getTracer']>;

  constructor({ node }: { readonly node: string }) {
    const own = resourceFromAttributes({ 'service.name': SERVICE_NAME, 'host.name': node, 'process.pid': process.pid });
    this.#provider = new BasicTracerProvider({
      idGenerator: this.#ids,
      // What the environment says comes last, and wins.
      resource: defaultResource()
        .merge(own)
        .merge(detectResources({ detectors: [envDetector] })),
      spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter())],
    });
    this.#tracer = this.#provider.getTracer(SERVICE_NAME);
  }

  within<T>(options: SpanOptions, parent: string | undefined, run: (traceparent: string | undefined) => T): T {
    const { name, kind, attributes = {} } = options;
    const span = this.#tracer.startSpan(name, { kind: KINDS[kind], attributes }, contextOf(parent));
    try {
      const result = run(traceparentOf(span));
      if (!(result instanceof Promise)) {
        span.end();
        return result;
      }
      result.then(
        () => span.end(),
        (error: unknown) => {
          fail(span, error);
          span.end();
        },
      );
      return result;
    } catch (error) {
      fail(span, error);
      span.end();
      throw error;
    }
  }

  record({ name, kind, attributes = {}, spanId, traceparent, startedMs, endedMs, error }: PastSpan): void {
    this.#ids.nextSpanId = spanId;
    const options = { kind: KINDS[kind], attributes, startTime: startedMs };
    const span = this.#tracer.startSpan(name, options, contextOf(traceparent));
    if (error !== undefined) fail(span, error);
    span.end(endedMs);
  }

  async close(): Promise<void> {
    let timer: NodeJS.Timeout | undefined;
    const patience = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, CLOSE_TIMEOUT_MS);
    });
    // A receiver that is away costs its spans, not more.
    await Promise.race([this.#provider.shutdown().catch(() => undefined), patience]);
    clearTimeout(timer);
  }
}
