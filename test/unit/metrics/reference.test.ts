/** The reference of metrics is what the registry says. After a change of metrics: `npx vitest run test/unit/metrics/reference.test.ts --update`. */

import { fileURLToPath } from 'node:url';
import { Registry } from 'prom-client';
import { expect, it } from 'vitest';
import { METRIC_GROUPS } from '../../../node-agent/metrics/index.js';
import { MAX_COMBINATIONS } from '../../../node-agent/metrics/tally.js';
import { MAX_VOLUMES_WITH_SERIES, VOLUME_LABELS } from '../../../node-agent/metrics/volumes.js';
import { metricSources } from './sources.js';

const REFERENCE = fileURLToPath(new URL('../../../docs/reference/metrics.md', import.meta.url));

const INTRODUCTION = `# Metrics

\`GET /metrics\` of every agent, without login, in the text format of Prometheus. [deploy/monitoring](../../deploy/monitoring) has dashboards and alerts.

Series of a volume have the labels \`${VOLUME_LABELS.join('`, `')}\`, called "volume" below; \`type\` is \`presentation\` where the volume is attached and \`deployment\` where a copy of it is. A node shows at most ${MAX_VOLUMES_WITH_SERIES} volumes of each type, and at most ${MAX_COMBINATIONS} combinations of labels of requests, activities and workflows. Volumes that leave the node leave its metrics. Histograms have the series \`_bucket\`, \`_sum\` and \`_count\`. Counts begin with 0 when the agent starts, those of a copy when it is opened.`;

function labelsOf(names: readonly string[]): string {
  const own = names.filter((name) => !VOLUME_LABELS.some((label) => label === name));
  return [...(own.length < names.length ? ['volume'] : []), ...own].join(', ');
}

/** What the library knows of a metric, beyond its own declarations. */
async function described(registry: Registry, name: string) {
  const metric = registry.getSingleMetric(name) as unknown as {
    readonly labelNames?: readonly string[];
    get(): Promise<{ readonly type: string; readonly help: string }>;
  };
  const { type, help } = await metric.get();
  return { name, type, help, labelNames: metric.labelNames };
}

async function reference(): Promise<string> {
  const sections = [INTRODUCTION];
  for (const { title, register } of METRIC_GROUPS) {
    const registry = new Registry();
    register(registry, metricSources());
    const rows = registry.getMetricsAsArray().map(async (metric) => {
      const { name, type, help, labelNames: labels = [] } = await described(registry, metric.name);
      return `| \`${name}\` | ${type} | ${labelsOf(labels)} | ${help} |`;
    });
    sections.push(
      `## ${title}\n\n| name | type | labels | meaning |\n|---|---|---|---|\n${(await Promise.all(rows)).join('\n')}`,
    );
  }
  return `${sections.join('\n\n')}\n`;
}

it('docs/reference/metrics.md lists every metric as it is', async () => {
  await expect(await reference()).toMatchFileSnapshot(REFERENCE);
});
