/**
 * How soon gossip finds out, on real agents: each in a network namespace of its own, one of them killed or cut off in
 * silence, the others' logs read for when they take it for dead. Beside it, as many rounds of the simulation that CI
 * runs. Whoever takes another one than that for dead is mistaken; that is counted all the while.
 */

import { closeSync, fstatSync, mkdtempSync, openSync, readSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { NodeFacts } from '../../cluster/facts.js';
import { waitFor } from '../../cluster/wait.js';
import type { MemberStatus } from '../../core/gossip/types.js';
import { NamespaceNetwork } from '../../test/setup/namespaces.js';
import { TestCluster } from '../../test/setup/test-cluster.js';
import { GossipSim } from '../../test/unit/gossip/sim.js';
import { type Distribution, distribution } from './distribution.js';

const NODES = 3;
const POLL_MS = 50;
const ROUND_TIMEOUT_MS = 60_000;
/** Between two rounds, with everybody alive: nobody may be suspected of anything. */
const QUIET_MS = 5_000;
/** Of virtual time, for a simulated cluster to find together, and to stay so, ms. */
const SIMULATED_START_MS = 60_000;
const SIMULATED_QUIET_MS = 5_000;

export type GossipFault = 'killed' | 'cut off';

/** Until the first of the others, and until all, take the node for dead; ms. */
interface Detection {
  readonly firstMs: Distribution;
  readonly allMs: Distribution;
}

interface Round {
  readonly firstMs: number;
  readonly allMs: number;
  /** When the fault was undone, by the clock on the wall. */
  readonly undoneAtMs: number;
}

export interface GossipResult {
  readonly nodes: number;
  /** Of each kind of fault. */
  readonly rounds: number;
  readonly detection: Readonly<Partial<Record<GossipFault | 'simulated', Detection>>>;
  /** Of nodes that nothing was wrong with, in `watchedMs` of all agents together. */
  readonly suspicions: number;
  readonly falseDeaths: number;
  readonly watchedMs: number;
  /** Taken for dead on the word of a node that comes back and had missed everybody; they contradict it at once. */
  readonly rumouredDeaths: number;
}

export interface GossipOptions {
  readonly rounds: number;
  /** The cluster lives in a directory below this one. */
  readonly place: string;
  /** Ends it after the present round. */
  readonly signal: AbortSignal;
  /** Called after every round. */
  readonly told: (fault: GossipFault, round: Round) => void;
}

interface Opinion {
  readonly atMs: number;
  readonly member: string;
  readonly status: MemberStatus;
}

/** What one agent's log says of the members. */
class GossipLog {
  readonly #path: string;
  #read = 0;
  #rest = '';
  #opinions: Opinion[] = [];
  readonly #status = new Map<string, MemberStatus>();

  constructor(path: string) {
    this.#path = path;
  }

  /** The latest, of those that were read. */
  statusOf(member: string): MemberStatus | undefined {
    return this.#status.get(member);
  }

  /** When it has taken the member for dead, among what was not taken yet. */
  deathOf(member: string): number | undefined {
    return this.#opinions.find((opinion) => opinion.member === member && opinion.status === 'dead')?.atMs;
  }

  /** All since the last call. */
  take(): readonly Opinion[] {
    this.read();
    const taken = this.#opinions;
    this.#opinions = [];
    return taken;
  }

  read(): void {
    const file = openSync(this.#path, 'r');
    try {
      const { size } = fstatSync(file);
      // An agent that is started again may find its log rotated.
      if (size < this.#read) this.#read = 0;
      const added = Buffer.alloc(size - this.#read);
      const length = readSync(file, added, 0, added.length, this.#read);
      this.#read += length;
      const lines = (this.#rest + added.toString('utf8', 0, length)).split('\n');
      this.#rest = lines.pop() ?? '';
      for (const line of lines) this.#take(line);
    } finally {
      closeSync(file);
    }
  }

  #take(line: string): void {
    if (!line.includes('"msg":"gossip"')) return;
    const { time, member, status } = JSON.parse(line) as { time: string; member: string; status: MemberStatus };
    this.#status.set(member, status);
    this.#opinions.push({ atMs: Date.parse(time), member, status });
  }
}

interface Scene {
  readonly test: TestCluster;
  readonly network: NamespaceNetwork;
  readonly logs: ReadonlyMap<string, GossipLog>;
}

export async function measureGossip({ rounds, place, signal, told }: GossipOptions): Promise<GossipResult> {
  const closing: (() => Promise<unknown>)[] = [];
  try {
    const network = await NamespaceNetwork.create(NODES);
    closing.unshift(() => network.destroy());
    const directory = mkdtempSync(join(place, 'bench-gossip-'));
    const test = await TestCluster.start({ nodes: NODES, hosts: network }, directory);
    closing.unshift(() => test.destroy());
    const logs = new Map(test.cluster.nodes.map(({ id, log }) => [id, new GossipLog(log)]));
    const scene: Scene = { test, network, logs };
    const measured: Record<GossipFault, Round[]> = { killed: [], 'cut off': [] };
    const mistakes = { suspicions: 0, falseDeaths: 0, rumouredDeaths: 0 };
    const count = (opinions: readonly Opinion[]): void => {
      mistakes.suspicions += opinions.filter(({ status }) => status === 'suspect').length;
      mistakes.falseDeaths += opinions.filter(({ status }) => status === 'dead').length;
    };
    await untilAllAlive(scene);
    for (const log of logs.values()) log.take();
    const began = performance.now();
    for (let i = 0; i < rounds && !signal.aborted; i++) {
      for (const fault of ['killed', 'cut off'] as const) {
        const victim = test.cluster.nodes[i % NODES]!;
        const round = await oneRound(scene, fault, victim);
        measured[fault].push(round);
        told(fault, round);
        await untilAllAlive(scene);
        // The victim has its reasons to miss the others, and they have to miss it.
        for (const [id, log] of logs) {
          const opinions = log.take();
          if (id === victim.id) continue;
          const ofOthers = opinions.filter(({ member }) => member !== victim.id);
          count(ofOthers.filter(({ atMs }) => atMs < round.undoneAtMs));
          const since = ofOthers.filter(({ atMs }) => atMs >= round.undoneAtMs);
          mistakes.rumouredDeaths += since.filter(({ status }) => status === 'dead').length;
        }
        await sleep(QUIET_MS);
        for (const log of logs.values()) count(log.take());
      }
    }
    const watchedMs = Math.round((performance.now() - began) * NODES);
    const detection = Object.fromEntries(
      Object.entries({ ...measured, simulated: simulated(rounds) }).map(([kind, each]) => [kind, detectionOf(each)]),
    );
    return { nodes: NODES, rounds: measured.killed.length, detection, ...mistakes, watchedMs };
  } finally {
    for (const close of closing) await close();
  }
}

function detectionOf(rounds: readonly Pick<Round, 'firstMs' | 'allMs'>[]): Detection {
  return {
    firstMs: distribution(rounds.map(({ firstMs }) => firstMs)),
    allMs: distribution(rounds.map(({ allMs }) => allMs)),
  };
}

function others({ logs }: Scene, { id }: NodeFacts): GossipLog[] {
  return [...logs].filter(([node]) => node !== id).map(([, log]) => log);
}

/** Everybody has heard of everybody and thinks well of him. */
async function untilAllAlive({ logs }: Scene): Promise<void> {
  const agreed = (): boolean =>
    [...logs].every(([node, log]) => {
      log.read();
      return [...logs.keys()].every((member) => member === node || log.statusOf(member) === 'alive');
    });
  await waitFor('all members to be alive to all', async () => agreed() || undefined, {
    timeoutMs: ROUND_TIMEOUT_MS,
    intervalMs: POLL_MS,
  });
}

/** From the fault until the others know; it is undone then. */
async function oneRound(scene: Scene, fault: GossipFault, victim: NodeFacts): Promise<Round> {
  const { test, network } = scene;
  const position = test.cluster.nodes.findIndex(({ id }) => id === victim.id) + 1;
  const logs = others(scene, victim);
  const began = Date.now();
  if (fault === 'killed') await test.cluster.killNode(victim.name);
  else await network.cut(position);
  try {
    const deaths = await waitFor(
      'the others to take it for dead',
      async () => {
        for (const log of logs) log.read();
        const known = logs.flatMap((log) => log.deathOf(victim.id) ?? []);
        return known.length === logs.length ? known : undefined;
      },
      { timeoutMs: ROUND_TIMEOUT_MS, intervalMs: POLL_MS },
    );
    const [firstMs, allMs] = [Math.min(...deaths) - began, Math.max(...deaths) - began];
    return { firstMs, allMs, undoneAtMs: Date.now() };
  } finally {
    if (fault === 'killed') await test.cluster.startNode(victim.name);
    else await network.heal(position);
  }
}

/** As many nodes without losses: a process that dies. To the others, one that is cut off is the same. */
function simulated(rounds: number): Pick<Round, 'firstMs' | 'allMs'>[] {
  return Array.from({ length: rounds }, (_, seed) => {
    const sim = new GossipSim({ seed: seed + 1, nodes: NODES });
    sim.run(SIMULATED_START_MS, () => sim.agree());
    sim.run(sim.now + SIMULATED_QUIET_MS);
    const [victim, ...rest] = sim.nodes;
    victim!.up = false;
    const began = sim.now;
    const known = (node: (typeof rest)[number]): boolean => sim.statusOf(node, victim!) === 'dead';
    sim.run(began + ROUND_TIMEOUT_MS, () => rest.some(known));
    const firstMs = sim.now - began;
    sim.run(began + ROUND_TIMEOUT_MS, () => rest.every(known));
    return { firstMs, allMs: sim.now - began };
  });
}
