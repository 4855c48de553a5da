/** What uses the volumes during a round: registers on all of them, fio with verification on one. */

import type { ApiVolume } from '../../client/types.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { nbdSocket, nbdUri } from '../../cluster/volumes.js';
import { waitFor } from '../../cluster/wait.js';
import { ERR } from '../../node-agent/frontend/nbd-protocol.js';
import { type FioJob, type FioRun, startFio } from '../setup/fio.js';
import type { Arena, Subject } from './arena.js';
import { type RegisterClient, Registers } from './registers.js';

/** Registers are the first blocks of a volume, then come what fio verifies in every round, and what it rewrites. */
const REGISTERS = 96;
const KEPT: Pick<FioJob, 'size' | 'offset' | 'seed'> = { size: '8m', offset: '64m', seed: 1 };
const REWRITTEN: Pick<FioJob, 'size' | 'offset'> = { size: '8m', offset: '128m' };
const CLIENT = { blocks: REGISTERS, connections: 3, depth: 3, pauseMs: 25 };
const FIO_IOPS = 250;
const ATTACH_TIMEOUT_MS = 90_000;

interface Tenant {
  readonly node: NodeFacts;
  readonly client: RegisterClient;
}

/** fio, again and again, until it is told to stop. */
class FioLoop {
  runs = 0;
  readonly #ended: Promise<void>;
  #running = true;
  #current: FioRun | undefined;

  constructor(job: FioJob) {
    this.#ended = this.#loop(job);
    // Whoever waits for the end looks at the outcome.
    this.#ended.catch(() => undefined);
  }

  async #loop(job: FioJob): Promise<void> {
    while (this.#running) {
      this.#current = startFio({ ...job, seed: (job.seed ?? 1) + this.runs });
      await this.#current.done;
      this.runs++;
    }
  }

  /** When the run that goes on has verified what it wrote. Rejects with what fio said against it. */
  async stop(): Promise<void> {
    this.#running = false;
    await this.#ended;
  }

  kill(): void {
    this.#running = false;
    this.#current?.process.kill('SIGKILL');
  }
}

export class Workload {
  readonly registers: ReadonlyMap<Subject, Registers>;
  readonly #arena: Arena;
  readonly #seed: number;
  readonly #tenants: Tenant[] = [];
  #fio: FioLoop | undefined;
  #attachments = 0;

  constructor(arena: Arena, seed: number, random: () => number) {
    this.#arena = arena;
    this.#seed = seed;
    const options = { ...CLIENT, round: seed, random };
    this.registers = new Map(arena.subjects.map((subject) => [subject, new Registers(options)]));
  }

  /** Everything zero, attached to the node, and used from there. With `throughout`, fio rewrites the subject all the time. */
  async start(node: NodeFacts, subject: Subject, throughout: boolean): Promise<void> {
    for (const [each, registers] of this.registers) {
      const uri = await this.#arena.test.attach(each.volume, node);
      await registers.client(nbdSocket(node, each.volume.id), 0).clear();
      await this.#arena.prepare(each, () => startFio({ uri, ...KEPT, mode: 'write' }).done);
    }
    const job = { uri: nbdUri(node, subject.volume.id), ...REWRITTEN, seed: this.#seed };
    if (throughout) this.#fio = new FioLoop({ ...job, rateIops: FIO_IOPS });
    else await startFio({ ...job, mode: 'write' }).done;
    this.#begin(node);
  }

  /** Attached to another node, and used from there; who uses them from where they were may get errors. */
  async moveTo(node: NodeFacts): Promise<void> {
    for (const { client } of this.#tenants) client.mayFail = true;
    for (const { volume } of this.registers.keys()) await this.#attach(volume, node);
    this.#begin(node);
  }

  /** As soon as that is possible: with nodes and servers away it may be refused for a time. */
  async #attach(volume: ApiVolume, node: NodeFacts): Promise<void> {
    await waitFor(
      `${volume.name} to be attached to ${node.name}`,
      () => this.#arena.test.attach(volume, node).catch(() => undefined),
      { timeoutMs: ATTACH_TIMEOUT_MS, intervalMs: 500 },
    );
  }

  #begin(node: NodeFacts): void {
    this.#attachments++;
    for (const [{ volume }, registers] of this.registers) {
      const client = registers.client(nbdSocket(node, volume.id), this.#attachments);
      this.#tenants.push({ node, client });
      client.start();
    }
  }

  /** The node's disk is about to be full: who is served from there may be told so. */
  async onFullDisk(node: NodeFacts): Promise<void> {
    for (const [subject, registers] of this.registers) {
      const { master } = await this.#arena.volume(subject);
      if (master.nodeID === node.id) registers.expectedErrors.add(ERR.noSpace);
    }
  }

  /** The agent is about to be killed. */
  onKill(victim: NodeFacts): void {
    const dying = this.#tenants.filter(({ node, client }) => node.id === victim.id && !client.mayFail);
    if (dying.length === 0) return;
    this.#attachments++;
    for (const { client } of dying) client.generation = this.#attachments;
  }

  /** Where the volumes are attached. */
  get node(): NodeFacts {
    return this.#tenants.at(-1)!.node;
  }

  /** Ends all of it, and reads everything once more. Resolves to what is wrong. */
  async finish(subject: Subject, answerWithinMs: number): Promise<string[]> {
    const problems: string[] = [];
    const attempt = async (what: string, act: () => Promise<unknown>): Promise<void> => {
      await act().catch((error: Error) => problems.push(`${what}: ${error.message}`));
    };
    for (const { node, client } of this.#tenants) {
      const unanswered = await client.stop(answerWithinMs);
      if (unanswered > 0) problems.push(`${unanswered} requests to ${node.name} were not answered`);
    }
    const throughout = this.#fio;
    if (throughout !== undefined) await attempt('fio', () => throughout.stop());
    for (const [{ volume }, registers] of this.registers) {
      await this.#attach(volume, this.node);
      const last = registers.client(nbdSocket(this.node, volume.id), this.#attachments);
      await attempt(`${volume.name}, read at the end`, () => last.readAll());
      const uri = nbdUri(this.node, volume.id);
      await attempt(`${volume.name}, kept`, () => startFio({ uri, ...KEPT, mode: 'verify' }).done);
      if (throughout === undefined && volume.id === subject.volume.id) {
        const job: FioJob = { uri, ...REWRITTEN, seed: this.#seed, mode: 'verify' };
        await attempt(`${volume.name}, written before`, () => startFio(job).done);
      }
      problems.push(...registers.problems().map((problem) => `${volume.name}: ${problem}`));
    }
    return problems;
  }

  /** At once, whatever is under way. */
  async abandon(): Promise<void> {
    this.#fio?.kill();
    for (const { client } of this.#tenants) await client.stop(0);
  }

  get fioRuns(): number {
    return this.#fio?.runs ?? 1;
  }
}
