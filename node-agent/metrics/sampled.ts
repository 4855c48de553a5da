/**
 * Metrics whose values are read from their owners when somebody scrapes: between scrapes they cost nothing, and
 * series of what is gone are gone. They stand in prom-client's registry like its own.
 */

import type { Metric, Registry } from 'prom-client';
import { LATENCY_BOUNDS_S, type LatencyHistogram } from './latency.js';

export type Labels = Readonly<Record<string, string | number>>;

export interface Sample {
  readonly labels: Labels;
  readonly value: number;
}

export interface SampledMetric {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly labels?: readonly string[];
  readonly read: () => Iterable<Sample>;
}

export interface SampledHistogram {
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
  readonly read: () => Iterable<{ readonly labels: Labels; readonly latency: LatencyHistogram }>;
}

/** What the registry asks of a metric (prom-client's `Registry.getMetricsAsString`). */
interface Line {
  readonly metricName?: string;
  readonly labels: Labels;
  /** Further labels, the same object in several lines: the library formats it once. */
  readonly sharedLabels?: Labels;
  readonly value: number;
}

function register(
  registry: Registry,
  about: { readonly name: string; readonly help: string; readonly type: string; readonly labels?: readonly string[] },
  lines: () => Line[],
): void {
  const { name, help, type, labels = [] } = about;
  const metric = {
    name,
    help,
    labelNames: labels,
    get: async () => ({ name, help, type, aggregator: 'sum', values: lines() }),
    reset: () => {},
  };
  // The library's types know only its own classes; its code asks for nothing but these members.
  registry.registerMetric(metric as unknown as Metric);
}

export function registerSampled(registry: Registry, metric: SampledMetric): void {
  register(registry, metric, () => [...metric.read()]);
}

export function registerHistogram(registry: Registry, metric: SampledHistogram): void {
  register(registry, { ...metric, type: 'histogram' }, () => {
    const lines: Line[] = [];
    for (const { labels, latency } of metric.read()) lines.push(...histogramLines(metric.name, labels, latency));
    return lines;
  });
}

function histogramLines(name: string, labels: Labels, { buckets, sumSeconds }: LatencyHistogram): Line[] {
  let count = 0;
  const lines: Line[] = [];
  buckets.forEach((inBucket, i) => {
    count += inBucket;
    lines.push({
      metricName: `${name}_bucket`,
      labels: { le: LATENCY_BOUNDS_S[i] ?? '+Inf' },
      sharedLabels: labels,
      value: count,
    });
  });
  lines.push({ metricName: `${name}_sum`, labels: {}, sharedLabels: labels, value: sumSeconds });
  lines.push({ metricName: `${name}_count`, labels: {}, sharedLabels: labels, value: count });
  return lines;
}

/** A gauge without labels. */
export function registerGauge(registry: Registry, name: string, help: string, read: () => number): void {
  registerSampled(registry, { name, help, type: 'gauge', read: () => [{ labels: {}, value: read() }] });
}

/** A counter without labels. */
export function registerCounter(registry: Registry, name: string, help: string, read: () => number): void {
  registerSampled(registry, { name, help, type: 'counter', read: () => [{ labels: {}, value: read() }] });
}
