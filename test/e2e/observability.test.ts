/** What a running cluster tells: to Prometheus, with alerts and dashboards; in its logs; and to nobody else. */

import { execFileSync, spawn } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parse } from 'yaml';
import { waitFor } from '../../cluster/wait.js';
import { descendants, foreignConnections } from '../setup/connections.js';
import { startFio } from '../setup/fio.js';
import { TestCluster } from '../setup/test-cluster.js';

const MONITORING = fileURLToPath(new URL('../../deploy/monitoring', import.meta.url));
const REFERENCE = fileURLToPath(new URL('../../docs/reference/metrics.md', import.meta.url));
/** Only there while a copy is being filled. */
const PASSING: ReadonlySet<string> = new Set([
  'storageos_volume_sync_blocks',
  'storageos_volume_sync_blocks_done',
  'storageos_volume_sync_copied_bytes',
]);

interface Rule {
  readonly alert: string;
  readonly expr: string;
}
interface Dashboard {
  readonly title: string;
  readonly panels: readonly { readonly title: string; readonly targets?: readonly { readonly expr: string }[] }[];
  readonly templating: { readonly list: readonly { readonly type: string; readonly query: string }[] };
}

const rules: Rule[] = (
  parse(readFileSync(join(MONITORING, 'alerts.yml'), 'utf8')) as { groups: { rules: Rule[] }[] }
).groups.flatMap((group) => group.rules);
const dashboards: Dashboard[] = readdirSync(join(MONITORING, 'dashboards')).map((file) =>
  JSON.parse(readFileSync(join(MONITORING, 'dashboards', file), 'utf8')),
);

/** What Grafana makes of a query before it asks. */
function resolved(query: string): string {
  return query.replaceAll('$__rate_interval', '10s').replaceAll(/\$(namespace|volume|instance)\b/g, '.*');
}

const queries = [
  ...rules.map(({ alert, expr }) => [alert, expr] as const),
  ...dashboards.flatMap(({ title, panels }) =>
    panels.flatMap((panel) =>
      (panel.targets ?? []).map(({ expr }) => [`${title}, ${panel.title}`, resolved(expr)] as const),
    ),
  ),
];

/** Names of metrics in an expression, and of a variable's query. */
function metricsIn(text: string): string[] {
  return [...new Set(text.match(/\bstorageos_[a-z0-9_]+/g) ?? [])];
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  return typeof address === 'object' && address !== null ? address.port : 0;
}

it('the rules are well-formed, and fire when they should', () => {
  const promtool = (...args: string[]) => execFileSync('promtool', args, { cwd: MONITORING, encoding: 'utf8' });
  expect(promtool('check', 'rules', 'alerts.yml')).toContain('SUCCESS');
  expect(promtool('check', 'config', 'prometheus.yml')).toContain('SUCCESS');
  expect(promtool('test', 'rules', 'alerts.test.yml')).toContain('SUCCESS');
});

it('every metric of rules and dashboards is one of the reference', () => {
  const reference = readFileSync(REFERENCE, 'utf8');
  const variables = dashboards.flatMap(({ templating }) => templating.list.map(({ query }) => query));
  const unknown = [...queries.map(([, expr]) => expr), ...variables]
    .flatMap(metricsIn)
    .map((name) => name.replace(/_(bucket|sum|count)$/, ''))
    .filter((name) => !reference.includes(`\`${name}\``));
  expect(unknown).toEqual([]);
});

describe('on a running cluster', () => {
  let test: TestCluster;
  let directory: string;
  let base: string;
  const stops: (() => Promise<void>)[] = [];

  const ask = async (path: string, parameters: Record<string, string> = {}) => {
    const response = await fetch(`${base}${path}?${new URLSearchParams(parameters)}`);
    return (await response.json()) as { status: string; error?: string; data: unknown };
  };

  beforeAll(async () => {
    test = await TestCluster.start();
    const volume = await test.createVolume('data', 1);
    const uri = await test.attach(volume, test.bystander(volume));
    await startFio({ uri, size: '4M' }).done;
    directory = mkdtempSync(join(tmpdir(), 'prometheus-'));
    const port = await freePort();
    base = `http://127.0.0.1:${port}`;
    const targets = test.cluster.nodes.map(({ apiEndpoint }) => apiEndpoint);
    const config = {
      global: { scrape_interval: '1s', evaluation_interval: '1s' },
      rule_files: [join(MONITORING, 'alerts.yml')],
      scrape_configs: [{ job_name: 'storageos', static_configs: [{ targets }] }],
    };
    writeFileSync(join(directory, 'prometheus.yml'), JSON.stringify(config));
    const prometheus = spawn(
      'prometheus',
      [
        `--config.file=${join(directory, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(directory, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ],
      { stdio: 'ignore' },
    );
    const ended = new Promise((resolve) => prometheus.once('exit', resolve));
    stops.push(async () => {
      prometheus.kill('SIGTERM');
      await ended;
    });
    const scrapes = async () => {
      const { data } = await ask('/api/v1/query', { query: 'min(count_over_time(storageos_node_volumes_total[1m]))' });
      const [series] = (data as { result: { value: [number, string] }[] }).result;
      return Number(series?.value[1] ?? 0);
    };
    await waitFor('three scrapes of every node', async () => ((await scrapes()) >= 3 ? true : undefined), {
      timeoutMs: 30_000,
      intervalMs: 250,
    });
  }, 120_000);

  afterAll(async () => {
    for (const stop of stops) await stop();
    await test?.destroy();
    if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  }, 60_000);

  it('everything that rules and dashboards ask for is there', async () => {
    const { data } = await ask('/api/v1/label/__name__/values');
    const there = new Set(data as string[]);
    const missing = queries
      .flatMap(([, expr]) => metricsIn(expr))
      .filter((name) => !there.has(name) && !PASSING.has(name));
    expect([...new Set(missing)]).toEqual([]);
  });

  it('every rule and every query of the dashboards can be evaluated', async () => {
    const failures: string[] = [];
    for (const [name, query] of queries) {
      const { status, error } = await ask('/api/v1/query', { query });
      if (status !== 'success') failures.push(`${name}: ${error}`);
    }
    expect(failures).toEqual([]);
  });

  it('the figures are right: all nodes up, the volume served, written to over the network, with its replica', async () => {
    const value = async (query: string) => {
      const { data } = await ask('/api/v1/query', { query });
      return Number((data as { result: { value: [number, string] }[] }).result[0]?.value[1]);
    };
    expect(await value('sum(up{job="storageos"})')).toBe(3);
    expect(await value('sum(storageos_volume_replication_serving{volume_name="data"})')).toBe(1);
    expect(await value('storageos_volume_replicas_ready{volume_name="data"}')).toBe(1);
    expect(await value('storageos_volume_replicas_wanted{volume_name="data"}')).toBe(1);
    expect(await value('storageos_volume_frontend_write_total{volume_name="data"}')).toBeGreaterThan(100);
    expect(await value('storageos_volume_network_write_bytes_total{volume_name="data"}')).toBeGreaterThan(1_000_000);
    expect(await value('min(storageos_volume_backend_write_bytes_total{volume_name="data"})')).toBeGreaterThan(
      1_000_000,
    );
    expect(await value('sum(storageos_workflow_seconds_count{workflow="AttachVolume",result="completed"})')).toBe(1);
    expect(await value('min(storageos_control_process_resident_memory_bytes)')).toBeGreaterThan(10e6);
    const { data } = await ask('/api/v1/alerts');
    const firing = (data as { alerts: { state: string; labels: { alertname: string } }[] }).alerts;
    expect(firing.filter(({ state }) => state === 'firing')).toEqual([]);
  });

  it('every node changes its log with the setting of the cluster, workflows and agents alike', async () => {
    const { api } = test.cluster;
    const log = (name: string) => readFileSync(test.nodeOf(name).log, 'utf8');
    const debugLines = (name: string) => log(name).match(/^\S+Z DEBUG \[/gm)?.length ?? 0;
    const names = test.cluster.nodes.map(({ name }) => name);
    for (const name of names) expect(debugLines(name)).toBe(0);
    const set = (logLevel: string, logFormat: string) =>
      api.request('PUT', '/cluster', {
        query: { 'ignore-version': 'true' },
        body: { disableTelemetry: true, disableCrashReporting: true, disableVersionCheck: true, logLevel, logFormat },
      });
    await set('debug', 'default');
    for (const { name, apiEndpoint } of test.cluster.nodes) {
      await waitFor(
        `debug lines in the log of ${name}`,
        async () => {
          // Gives it something to say.
          await (await fetch(`http://${apiEndpoint}/healthz`)).text();
          return debugLines(name) > 0 ? true : undefined;
        },
        { timeoutMs: 20_000 },
      );
    }
    const [volume] = await api.volumes(await api.namespaceId('default'));
    const node = test.cluster.nodes.find(({ id }) => id === volume?.attachedOn);
    if (volume === undefined || node === undefined) throw new Error('the volume is not attached');
    const detached = await api.transport.send(
      'DELETE',
      `/namespaces/${volume.namespaceID}/volumes/${volume.id}/attach`,
      {
        query: { version: '', 'ignore-version': 'true' },
        timeoutMs: 60_000,
      },
    );
    detached.body.resume();
    expect(detached.status).toBe(200);
    const requestId = detached.header('x-request-id') ?? '';
    expect(requestId).toMatch(/^[0-9a-f-]{36}$/);
    // The node that closed the device says for which request.
    await waitFor(
      `the request in the log of ${node.name}`,
      () => (log(node.name).includes(`requestId=${requestId}`) ? true : undefined),
      {
        timeoutMs: 10_000,
      },
    );
    await set('info', 'json');
  });

  it('sends nothing anywhere by itself', async () => {
    const { api } = test.cluster;
    expect(await api.get('/cluster')).toMatchObject({
      disableTelemetry: true,
      disableCrashReporting: true,
      disableVersionCheck: true,
    });
    // Also if somebody turns them on: there is nothing behind the switches.
    await api.request('PUT', '/cluster', { query: { 'ignore-version': 'true' }, body: {} });
    const agents = test.cluster.nodes.flatMap(({ pid }) => (pid === undefined ? [] : [pid]));
    expect(agents).toHaveLength(3);
    const pids = agents.flatMap((pid) => [pid, ...descendants(pid)]);
    expect(pids.length).toBeGreaterThanOrEqual(6);
    const foreign = new Set<string>();
    for (const endMs = performance.now() + 3_000; performance.now() < endMs; await sleep(20)) {
      for (const pid of pids) for (const connection of foreignConnections(pid)) foreign.add(connection);
    }
    expect([...foreign]).toEqual([]);
  });
});
