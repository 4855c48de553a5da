import { setImmediate as turn } from 'node:timers/promises';
import type { Registry } from 'prom-client';

/** The text for Prometheus. Metric by metric: I/O goes on between them, however many volumes there are. */
export async function exposition(registry: Registry): Promise<string> {
  const parts: string[] = [];
  for (const { name } of registry.getMetricsAsArray()) {
    parts.push(await registry.getSingleMetricAsString(name));
    await turn();
  }
  return `${parts.join('\n\n')}\n`;
}
