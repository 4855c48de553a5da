/**
 * What metrics cost: counting one I/O, and answering a scrape.
 *
 *   npm run bench -- metrics [--quick]
 *
 * Beside the histogram of an I/O: the clock that every measurement reads twice, and prom-client's own histogram with
 * the same labels, which is what it stands instead of.
 */

import { Histogram, Registry } from 'prom-client';
import type { VolumeId } from '../core/types.js';
import { newFrontendStats } from '../node-agent/frontend/stats.js';
import { exposition } from '../node-agent/metrics/exposition.js';
import { registerMetrics } from '../node-agent/metrics/index.js';
import { LATENCY_BOUNDS_S, LatencyHistogram } from '../node-agent/metrics/latency.js';
import { VOLUME_LABELS } from '../node-agent/metrics/volumes.js';
import { metricSources } from '../test/unit/metrics/sources.js';
import { saveResults } from './results.js';

const quick = process.argv.includes('--quick');
const ROUNDS = quick ? 5 : 15;
const CALLS = quick ? 200_000 : 1_000_000;
/** As many as may be attached to one node. */
const VOLUMES = 250;

const latency = new LatencyHistogram();
const registry = new Registry();
const histogram = new Histogram({
  name: 'bench_seconds',
  help: 'the same by prom-client',
  labelNames: VOLUME_LABELS,
  buckets: [...LATENCY_BOUNDS_S],
  registers: [registry],
});
const labels = { namespace: 'default', pool: 'default', type: 'presentation', volume_id: 'v', volume_name: 'data' };
/** From 50 µs to 50 ms, as volumes have them. */
const samples = Float64Array.from({ length: 1024 }, (_, i) => 0.00005 * 1000 ** (((i * 37) % 1024) / 1024));

let sink = 0;
const LOADS: Readonly<Record<string, (i: number) => void>> = {
  'LatencyHistogram.observe': (i) => latency.observe(samples[i & 1023]!),
  'performance.now, twice': () => {
    sink += performance.now() - performance.now();
  },
  'prom-client Histogram.observe': (i) => histogram.observe(labels, samples[i & 1023]!),
};

function median(values: readonly number[]): number {
  return [...values].sort((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;
}

const times = new Map<string, number[]>();
for (let round = 0; round < ROUNDS; round++) {
  for (const [name, call] of Object.entries(LOADS)) {
    const beganMs = performance.now();
    for (let i = 0; i < CALLS; i++) call(i);
    times.set(name, [...(times.get(name) ?? []), ((performance.now() - beganMs) / CALLS) * 1e6]);
  }
}
const nanoseconds = Object.fromEntries([...times].map(([name, each]) => [name, Math.round(median(each))]));
console.table(Object.entries(nanoseconds).map(([what, ns]) => ({ what, 'ns each': ns })));

const attached = Array.from({ length: VOLUMES }, (_, i) => ({
  volume: `volume-${i}` as VolumeId,
  stats: newFrontendStats(),
}));
const agent = new Registry();
registerMetrics(agent, metricSources({ attached: () => attached }));
const scrapes: number[] = [];
/** The longest time for which nothing else was done. */
const stalls: number[] = [];
let bytes = 0;
for (let round = 0; round < ROUNDS; round++) {
  let [lastMs, longestMs, going] = [performance.now(), 0, true];
  const look = (): void => {
    const nowMs = performance.now();
    longestMs = Math.max(longestMs, nowMs - lastMs);
    lastMs = nowMs;
    if (going) setImmediate(look);
  };
  setImmediate(look);
  const beganMs = performance.now();
  bytes = (await exposition(agent)).length;
  scrapes.push(performance.now() - beganMs);
  going = false;
  stalls.push(longestMs);
}
const scrapeMs = Number(median(scrapes).toFixed(1));
const stallMs = Number(median(stalls).toFixed(1));
const size = `${(bytes / 1024).toFixed(0)} KiB`;
console.log(
  `A scrape with ${VOLUMES} attached volumes: ${size} in ${scrapeMs} ms, of which I/O waits for at most ${stallMs} ms`,
);
if (!quick)
  saveResults(
    'metrics',
    { rounds: ROUNDS, calls: CALLS },
    { nanoseconds, scrape: { volumes: VOLUMES, ms: scrapeMs, stallMs, bytes } },
  );
if (Number.isNaN(sink)) throw new Error('the clock went away');
