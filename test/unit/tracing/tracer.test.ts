import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { parseOperationContext, spanIdOfRun, withParent } from '../../../core/operation-context.js';
import { createTracer, NO_TRACER, tracingWanted } from '../../../node-agent/tracing/tracer.js';
import { OtlpReceiver } from './receiver.js';

const PARENT = '00-0123456789abcdef0123456789abcdef-0123456789abcdef-01';

const NODE_AGENT = fileURLToPath(new URL('../../../node-agent', import.meta.url));

let receiver: OtlpReceiver | undefined;

afterEach(async () => {
  vi.unstubAllEnvs();
  await receiver?.close();
  receiver = undefined;
});

describe('tracing', () => {
  it.each([
    [{}, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318' }, true],
    [{ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: 'http://collector:4318/v1/traces' }, true],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: '' }, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', OTEL_SDK_DISABLED: 'true' }, false],
    [{ OTEL_EXPORTER_OTLP_ENDPOINT: 'http://collector:4318', OTEL_TRACES_EXPORTER: 'none' }, false],
  ])('with %j is wanted: %s', async (env, wanted) => {
    expect(tracingWanted(env)).toBe(wanted);
    if (!wanted) expect(await createTracer(env, { node: 'node-1' })).toBe(NO_TRACER);
  });

  it('that is not wanted passes on what was given, and gives nothing', () => {
    expect(NO_TRACER.within({ name: 'x', kind: 'internal' }, PARENT, (parent) => parent)).toBe(PARENT);
    expect(NO_TRACER.within({ name: 'x', kind: 'internal' }, undefined, (parent) => parent)).toBeUndefined();
  });

  it('that is not wanted loads no library: one file imports it, which is imported only when it is wanted', () => {
    const files = readdirSync(NODE_AGENT, { recursive: true, encoding: 'utf8' }).filter((file) => file.endsWith('.ts'));
    const importing = (pattern: RegExp) =>
      files.filter((file) => pattern.test(readFileSync(join(NODE_AGENT, file), 'utf8')));
    expect(importing(/@opentelemetry/)).toEqual(['tracing/otel-tracer.ts']);
    expect(importing(/^(import|export)[^;]*otel-tracer/m)).toEqual([]);
    expect(importing(/await import\('\.\/otel-tracer\.js'\)/)).toEqual(['tracing/tracer.ts']);
  });

  it('continues the trace of the caller, tells errors, and waits for no receiver that is away', async () => {
    receiver = await OtlpReceiver.start();
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', receiver.endpoint);
    const tracer = await createTracer(process.env, { node: 'node-1' });
    const failing = tracer.within({ name: 'outer', kind: 'server' }, PARENT, async (own) =>
      tracer.within({ name: 'inner', kind: 'internal', attributes: { volume: 'v' } }, own, () => {
        throw new Error('no room');
      }),
    );
    await expect(failing).rejects.toThrow('no room');
    await tracer.close();
    const [inner, outer] = ['inner', 'outer'].map((name) => receiver?.spans.find((span) => span.name === name));
    expect(outer).toMatchObject({ traceId: PARENT.split('-')[1], parentSpanId: PARENT.split('-')[2] });
    expect(inner).toMatchObject({
      parentSpanId: outer?.spanId,
      attributes: { volume: 'v' },
      status: { code: 2, message: 'no room' },
    });
    vi.stubEnv('OTEL_EXPORTER_OTLP_ENDPOINT', 'http://127.0.0.1:9');
    const away = await createTracer(process.env, { node: 'node-1' });
    await away.within({ name: 'x', kind: 'internal' }, undefined, async () => undefined);
    const beganMs = performance.now();
    await away.close();
    expect(performance.now() - beganMs).toBeLessThan(10_000);
  });
});

describe('the context of an operation', () => {
  it.each([
    [
      { requestId: 'r', traceparent: PARENT },
      { requestId: 'r', traceparent: PARENT },
    ],
    [{ requestId: 'r', traceparent: 'nonsense', more: 1 }, { requestId: 'r' }],
    [{ requestId: 'x'.repeat(1000) }, undefined],
    [{ requestId: 7 }, undefined],
    [null, undefined],
    ['r', undefined],
  ])('%j is read as %j', (given, expected) => {
    expect(parseOperationContext(given)).toEqual(expected);
  });

  it('names the span of a run by its id', () => {
    const span = spanIdOfRun('01234567-89ab-cdef-0123-456789abcdef');
    expect(span).toBe('0123456789abcdef');
    expect(withParent(PARENT, 'ffffffffffffffff')).toBe('00-0123456789abcdef0123456789abcdef-ffffffffffffffff-01');
  });
});
