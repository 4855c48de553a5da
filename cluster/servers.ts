/** etcd and the Temporal server as child processes, on 127.0.0.1 only, with their data in the data directory. */

import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import type { WorkflowService } from '@temporalio/client';
import { SHARED_TASK_QUEUE } from '../workflows/names.js';
import { SEARCH_ATTRIBUTES } from '../workflows/search-attributes.js';
import { SupervisedChild } from './child.js';
import type { DataDir, Layout } from './data-dir.js';
import { ClusterError } from './errors.js';
import type { PortClaims } from './ports.js';
import { waitFor } from './wait.js';

const HOST = '127.0.0.1';
/** Temporal's own defaults, where they are free. */
const TEMPORAL_PORT = 7233;
const TEMPORAL_UI_PORT = 8233;
const START_TIMEOUT_MS = 60_000;
const HEALTH_TIMEOUT_MS = 2_000;
/** TASK_QUEUE_TYPE_WORKFLOW of Temporal's protocol. */
const WORKFLOW_TASKS = 1;

/**
 * Workers of a node that is cut off must not be given tasks, which nobody else would do before they time out: the
 * server asks silent connections after two seconds, in place of a minute, whether they are still there.
 * Reads of the task queues per second, in place of 20: the default makes every task of a workflow wait 50 ms.
 * The database in write-ahead mode: commits need no sync of the file each.
 */
const TEMPORAL_SETTINGS = [
  ...['--dynamic-config-value', 'frontend.keepAliveTime="2s"'],
  ...['--dynamic-config-value', 'frontend.keepAliveTimeout="2s"'],
  ...['--dynamic-config-value', 'history.transferProcessorMaxPollRPS=2000'],
  ...['--dynamic-config-value', 'history.timerProcessorMaxPollRPS=2000'],
  ...['--sqlite-pragma', 'journal_mode=WAL'],
  ...['--sqlite-pragma', 'synchronous=NORMAL'],
];

export interface ServerSite {
  readonly dataDir: DataDir;
  readonly layout: Layout;
  readonly executable: string;
}

/** Rejects as soon as the child ends; what it said last is in the message. */
export async function untilServing(
  child: SupervisedChild,
  serving: () => Promise<boolean>,
  timeoutMs = START_TIMEOUT_MS,
): Promise<void> {
  await waitFor(
    `${child.name} to serve`,
    async () => {
      if (child.exit !== undefined) {
        const how = child.exit.signal ?? `code ${child.exit.code}`;
        throw new ClusterError('child', `${child.name} ended while starting (${how}):\n${child.logTail()}`);
      }
      return (await serving()) ? true : undefined;
    },
    { timeoutMs },
  );
}

export async function etcdHealthy(endpoint: string): Promise<boolean> {
  const response = await fetch(`http://${endpoint}/health`, { signal: AbortSignal.timeout(HEALTH_TIMEOUT_MS) });
  const body = (await response.json()) as { health?: unknown };
  return String(body.health) === 'true';
}

/**
 * Starts the process and resolves when it answers at 127.0.0.1:<layout.ports.etcdClient>. `started` gets the
 * process at once, so that whoever gives up waiting can end it.
 */
export async function startEtcd(
  { dataDir, layout, executable }: ServerSite,
  started: (child: SupervisedChild) => void,
): Promise<void> {
  mkdirSync(dataDir.etcdDir, { recursive: true, mode: 0o700 });
  const client = `http://${HOST}:${layout.ports.etcdClient}`;
  const peer = `http://${HOST}:${layout.ports.etcdPeer}`;
  const child = await SupervisedChild.start({
    name: 'etcd',
    command: executable,
    args: [
      ...['--name', 'embedded', '--data-dir', join(dataDir.etcdDir, 'data')],
      ...['--listen-client-urls', client, '--advertise-client-urls', client],
      ...['--listen-peer-urls', peer, '--initial-advertise-peer-urls', peer],
      ...['--initial-cluster', `embedded=${peer}`, '--initial-cluster-state', 'new'],
      ...['--auto-compaction-mode', 'revision', '--auto-compaction-retention', '1000'],
      ...['--log-level', 'warn', '--logger', 'zap'],
    ],
    env: { PATH: process.env.PATH, GOMAXPROCS: '2' },
    logFile: join(dataDir.etcdDir, 'log'),
    runDir: dataDir.runDir,
    endsWithParent: true,
  });
  started(child);
  await untilServing(child, () => etcdHealthy(`${HOST}:${layout.ports.etcdClient}`));
}

async function asking<R>(address: string, ask: (service: WorkflowService) => Promise<R>): Promise<R> {
  const { Connection } = await import('@temporalio/client');
  const connection = await Connection.connect({ address, connectTimeout: HEALTH_TIMEOUT_MS });
  try {
    return await connection.withDeadline(Date.now() + HEALTH_TIMEOUT_MS, () => ask(connection.workflowService));
  } finally {
    await connection.close();
  }
}

/** Whether the server at `address` (host:port) answers requests of clients. */
export function temporalHealthy(address: string): Promise<boolean> {
  return asking(address, async (service) => {
    await service.describeNamespace({ namespace: 'default' });
    return true;
  });
}

/**
 * Resolves when some node runs workflows: it begins to do so seconds after it serves, and commands that come before
 * are refused. Errors: ClusterError('timeout').
 */
export async function untilWorkflowsRun(address: string, namespace: string): Promise<void> {
  const taskQueue = { name: SHARED_TASK_QUEUE };
  await waitFor(
    'a node to run workflows',
    () =>
      asking(address, async (service) => {
        const { pollers } = await service.describeTaskQueue({
          namespace,
          taskQueue,
          taskQueueType: WORKFLOW_TASKS,
        });
        return pollers !== null && pollers !== undefined && pollers.length > 0 ? true : undefined;
      }),
    { timeoutMs: START_TIMEOUT_MS },
  );
}

/** Like `startEtcd`; its address is 127.0.0.1:<layout.ports.temporal>, its web page's <layout.ports.temporalUi>. */
export async function startTemporal(
  { dataDir, layout, executable }: ServerSite,
  started: (child: SupervisedChild) => void,
): Promise<void> {
  mkdirSync(dataDir.temporalDir, { recursive: true, mode: 0o700 });
  const child = await SupervisedChild.start({
    name: 'temporal',
    command: executable,
    args: [
      ...['server', 'start-dev', '--ip', HOST, '--ui-ip', HOST],
      ...['--port', String(layout.ports.temporal), '--ui-port', String(layout.ports.temporalUi)],
      ...['--db-filename', join(dataDir.temporalDir, 'temporal.db')],
      ...['--log-level', 'warn', '--log-format', 'json'],
      ...TEMPORAL_SETTINGS,
      ...SEARCH_ATTRIBUTES.flatMap((key) => ['--search-attribute', `${key.name}=${titleCase(key.type)}`]),
    ],
    // The server's own settings file, if the user has one, is not this cluster's.
    env: { PATH: process.env.PATH, HOME: dataDir.temporalDir },
    logFile: join(dataDir.temporalDir, 'log'),
    runDir: dataDir.runDir,
    endsWithParent: true,
  });
  started(child);
  await untilServing(child, () => temporalHealthy(`${HOST}:${layout.ports.temporal}`));
}

/** The SDK writes KEYWORD, the server's command line Keyword. */
function titleCase(type: string): string {
  return type.charAt(0) + type.slice(1).toLowerCase();
}

/** Claims every port of the two servers. One that somebody has taken since the last start is replaced. */
export async function settlePorts(ports: Layout['ports'] | undefined, claims: PortClaims): Promise<Layout['ports']> {
  return {
    etcdClient: await claims.claim(HOST, ports?.etcdClient),
    etcdPeer: await claims.claim(HOST, ports?.etcdPeer),
    temporal: await claims.claim(HOST, ports?.temporal ?? TEMPORAL_PORT),
    temporalUi: await claims.claim(HOST, ports?.temporalUi ?? TEMPORAL_UI_PORT),
  };
}
