/**
 * How long a volume's user waits when the primary goes: on a cluster of real agents, etcd and Temporal's server,
 * with every node in a network namespace of its own. The volume has one replica and is used on a third node, by
 * reads and writes that go on all the time; the pause is the longest time without the end of any of them.
 *
 * kills: SIGKILL of the primary's agent. partitions: packets from and to the primary's node are dropped in silence.
 * Between two rounds the node comes back, and its copy is brought up to date.
 */

import { mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiClient } from '../../client/api.js';
import type { ApiVolume } from '../../client/types.js';
import { clusterApi } from '../../cluster/api.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { waitFor } from '../../cluster/wait.js';
import { NamespaceNetwork } from '../../test/setup/namespaces.js';
import { TestCluster } from '../../test/setup/test-cluster.js';
import type { Remote } from '../data-path/rpc.js';
import { startClient } from './client-process.js';
import { type Distribution, distribution } from './distribution.js';
import type { IoClient, IoReport } from './io-client.js';

const NODES = 3;
/** About a thousand requests a second, in all. */
const LOAD = { depth: 16, restMs: 15 };
/** A pause has ended when answers have come for so long; and a round begins with as long a time of them. */
const STEADY_MS = 1_000;
/** Longer than anything but the pause that is looked for. */
const QUIET_MS = 250;
const POLL_MS = 50;
const ROUND_TIMEOUT_MS = 120_000;
/** Nobody places a new copy while a node is away for a round. */
const AGENT_SETTINGS = { REPLACEMENT_GRACE: '30m' };

export type FaultKind = 'kills' | 'partitions';

/** Of the median, and twice that of any round; ms. */
const GOALS: Readonly<Record<FaultKind, Omit<Distribution, 'p95'>>> = {
  kills: { median: 3_000, max: 6_000 },
  partitions: { median: 10_000, max: 20_000 },
};

export interface FailoverResult {
  readonly rounds: number;
  readonly goal: Omit<Distribution, 'p95'>;
  /** Without the end of any request, ms. */
  readonly pauseMs: Distribution;
  /** Without the end of a write, ms. */
  readonly writePauseMs: Distribution;
  /** Requests that failed, and rounds in which one did: none may. */
  readonly errors: number;
  readonly failedRounds: number;
  /** Pauses in the order of the rounds, ms. */
  readonly each: readonly number[];
}

interface Scene {
  readonly test: TestCluster;
  readonly network: NamespaceNetwork;
  readonly volume: ApiVolume;
  /** Asks the node where the volume is used, which no fault befalls. */
  readonly api: ApiClient;
  readonly client: Remote<IoClient>;
}

export interface FailoverOptions {
  readonly kind: FaultKind;
  readonly rounds: number;
  /** The cluster lives in a directory below this one. */
  readonly place: string;
  /** Ends it after the present round. */
  readonly signal: AbortSignal;
  /** Called after every round, with what there is by then. */
  readonly told: (result: FailoverResult) => void;
}

export async function measureFailover(options: FailoverOptions): Promise<FailoverResult> {
  const { kind, rounds, place, signal, told } = options;
  const closing: (() => Promise<unknown>)[] = [];
  try {
    const network = await NamespaceNetwork.create(NODES);
    closing.unshift(() => network.destroy());
    const directory = mkdtempSync(join(place, 'bench-failover-'));
    const test = await TestCluster.start({ nodes: NODES, hosts: network, settings: AGENT_SETTINGS }, directory);
    closing.unshift(() => test.destroy());
    const volume = await test.createVolume('failover', 1);
    const bystander = test.bystander(volume);
    const { remote: client, end } = await startClient({ uri: await test.attach(volume, bystander), ...LOAD });
    closing.unshift(end);
    const api = clusterApi(() => [bystander.apiEndpoint], test.cluster.credentials);
    const reports: IoReport[] = [];
    while (reports.length < rounds && !signal.aborted) {
      reports.push(await oneRound({ test, network, volume, api, client }, kind));
      told(summary(kind, reports));
    }
    return summary(kind, reports);
  } finally {
    for (const close of closing) await close();
  }
}

function summary(kind: FaultKind, reports: readonly IoReport[]): FailoverResult {
  return {
    rounds: reports.length,
    goal: GOALS[kind],
    pauseMs: distribution(reports.map(({ pauseMs }) => pauseMs)),
    writePauseMs: distribution(reports.map(({ writePauseMs }) => writePauseMs)),
    errors: reports.reduce((sum, { errors }) => sum + errors, 0),
    failedRounds: reports.filter(({ errors }) => errors > 0).length,
    each: reports.map(({ pauseMs }) => Math.round(pauseMs)),
  };
}

/** From a volume that is well to one that is well again. */
async function oneRound(scene: Scene, kind: FaultKind): Promise<IoReport> {
  const { master } = await untilInSync(scene);
  await untilSteady(scene);
  const primary = scene.test.nodeOf(master.nodeID);
  await scene.client.mark();
  const undo = await fault(scene, kind, primary);
  try {
    await waitFor('another primary', async () => (await current(scene)).master.id !== master.id || undefined, {
      timeoutMs: ROUND_TIMEOUT_MS,
      intervalMs: POLL_MS,
    });
    await untilSteady(scene);
    return await scene.client.report();
  } finally {
    await undo();
  }
}

/** Resolves to what takes it back. */
async function fault({ test, network }: Scene, kind: FaultKind, { name, id }: NodeFacts): Promise<() => Promise<void>> {
  if (kind === 'kills') {
    await test.cluster.killNode(name);
    return () => test.cluster.startNode(name);
  }
  const position = test.cluster.nodes.findIndex((node) => node.id === id) + 1;
  await network.cut(position);
  return () => network.heal(position);
}

function current({ api, volume }: Scene): Promise<ApiVolume> {
  return api.volume(volume.namespaceID, volume.id);
}

function untilInSync(scene: Scene): Promise<ApiVolume> {
  return waitFor(
    'both copies to be in sync',
    async () => {
      const now = await current(scene);
      const ready = (now.replicas ?? []).filter(({ health }) => health === 'ready').length;
      return now.master.health === 'online' && ready === 1 ? now : undefined;
    },
    { timeoutMs: ROUND_TIMEOUT_MS, intervalMs: POLL_MS },
  );
}

/** Answers come, and have come for a while. */
async function untilSteady({ client }: Scene): Promise<void> {
  const deadline = performance.now() + ROUND_TIMEOUT_MS;
  let since = performance.now();
  while (performance.now() - since < STEADY_MS) {
    if ((await client.report()).quietMs > QUIET_MS) since = performance.now();
    if (performance.now() > deadline) throw new Error('the volume does not answer any more');
    await sleep(POLL_MS);
  }
}
