/** The tour's chapters. */

import { randomBytes } from 'node:crypto';
import { readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../../client/errors.js';
import type { ApiDeployment, ApiVolume } from '../../client/types.js';
import { DEFAULT_BLOCK_SIZE } from '../../core/domain.js';
import type { Cluster } from '../cluster.js';
import { ClusterError } from '../errors.js';
import type { NodeFacts } from '../facts.js';
import { ensureAttached, mountVolume, unmountAll, waitForDevice } from '../volumes.js';
import { waitFor } from '../wait.js';
import { longestPause, Pgbench } from './pgbench.js';
import { fileHolds, searchTree } from './plain-text.js';
import { Postgres } from './postgres.js';
import { megabytes, type Report } from './report.js';
import { type WorkflowLink, WorkflowLog } from './workflows.js';

const VOLUME = 'postgres';
const SIZE_BYTES = 2 ** 30;
/** About 15 MB of data a unit. */
const PGBENCH_SCALE = 4;
const WARM_UP_MS = 6_000;
const AWAY_MS = 5_000;
const READY_TIMEOUT_MS = 240_000;
const FAILOVER_TIMEOUT_MS = 60_000;
/** What the tour still calls a pause. */
const MAX_PAUSE_MS = 30_000;
const QUIET_TIMEOUT_MS = 60_000;
const SECTOR_BYTES = 512;
const BLOCK_BYTES = DEFAULT_BLOCK_SIZE;
/** Writes that were under way at the kill, which its copy may have and the others not, or the other way round. */
const IN_FLIGHT_BYTES = 16 << 20;

function copiesOf(volume: ApiVolume): readonly ApiDeployment[] {
  return [volume.master, ...(volume.replicas ?? [])];
}

export class Story {
  readonly #cluster: Cluster;
  readonly #report: Report;
  readonly #signal: AbortSignal;
  readonly #log: WorkflowLog;
  readonly #marker = Buffer.from(`PLAIN-TEXT-${randomBytes(24).toString('hex')}`);
  readonly #mountPoint: string;
  #postgres: Postgres | undefined;
  #pgbench: Pgbench | undefined;
  #databaseRuns = false;

  constructor(cluster: Cluster, report: Report, signal: AbortSignal) {
    this.#cluster = cluster;
    this.#report = report;
    this.#signal = signal;
    this.#mountPoint = join(cluster.dataDir.mountDir, VOLUME);
    this.#log = new WorkflowLog(cluster.temporalAddress, cluster.temporalUi ?? '');
  }

  /** Errors: ClusterError where the story can't go on. */
  async tell(): Promise<void> {
    const { volume, consumer, device } = await this.#mountedVolume();
    const bench = await this.#database();
    const writtenBefore = this.#bytesWritten(device);
    const killed = await this.#loseThePrimary(volume, bench);
    await this.#comeBack(volume, killed, () => this.#bytesWritten(device) - writtenBefore);
    await this.#inspectDatabase(bench);
    await this.#compareCopies(volume, consumer, device);
    await this.#showWorkflows(volume);
  }

  /** Ends what still runs; for any point of the story. */
  async end(): Promise<void> {
    await this.#pgbench?.stop().catch(() => undefined);
    if (this.#databaseRuns) await this.#postgres?.stop().catch(() => undefined);
    await this.#log.close().catch(() => undefined);
  }

  #nodeOf(id: string): NodeFacts {
    return this.#cluster.node(id);
  }

  #current(volume: ApiVolume): Promise<ApiVolume> {
    return this.#cluster.api.volume(volume.namespaceID, volume.id);
  }

  /** Waits until the volume has a primary and `replicas` ready copies beside it. */
  async #untilReady(volume: ApiVolume, replicas: number): Promise<ApiVolume> {
    return await waitFor(
      `volume ${volume.name} to have ${replicas} ready ${replicas === 1 ? 'replica' : 'replicas'}`,
      async () => {
        const now = await this.#current(volume);
        const ready = (now.replicas ?? []).filter(({ health }) => health === 'ready').length;
        return now.master.health === 'online' && ready >= replicas ? now : undefined;
      },
      { timeoutMs: READY_TIMEOUT_MS, intervalMs: 250, signal: this.#signal },
    );
  }

  async #mountedVolume(): Promise<{ volume: ApiVolume; consumer: NodeFacts; device: string }> {
    const { api } = this.#cluster;
    this.#report.chapter('A volume: 1 GiB, one replica, encrypted, compressed');
    const created = await api.createVolume(await api.namespaceId('default'), {
      name: VOLUME,
      sizeBytes: SIZE_BYTES,
      labels: {
        'storageos.com/replicas': '1',
        'storageos.com/encryption': 'true',
        'storageos.com/nocompress': 'false',
      },
    });
    const volume = await this.#untilReady(created, 1);
    const holders = new Set(copiesOf(volume).map(({ nodeID }) => nodeID));
    const consumer = this.#cluster.nodes.find(({ id }) => !holders.has(id));
    if (consumer === undefined) throw new ClusterError('node', 'Every node holds a copy: none is left to mount it.');
    const names = copiesOf(volume).map(({ nodeID }) => this.#nodeOf(nodeID).name);
    this.#report.say(
      `primary on ${names[0]}, replica on ${names[1]}; mounted from ${consumer.name}, which has no copy`,
    );
    await ensureAttached(this.#cluster, volume, consumer);
    const device = await waitForDevice(consumer, volume.id);
    await mountVolume(device, 'ext4', this.#mountPoint);
    writeFileSync(join(this.#mountPoint, 'note.txt'), `${this.#marker.toString()}\n`);
    this.#report.say(`${device} is mounted on ${this.#mountPoint}`);
    return { volume, consumer, device };
  }

  async #database(): Promise<Pgbench> {
    this.#report.chapter('PostgreSQL on it, and pgbench');
    const scratch = join(this.#cluster.dataDir.root, 'pg');
    const postgres = new Postgres(this.#mountPoint, scratch);
    this.#postgres = postgres;
    await postgres.initialise();
    await postgres.start();
    this.#databaseRuns = true;
    await postgres.run('pgbench', ['--initialize', '--quiet', '--scale', String(PGBENCH_SCALE), 'postgres']);
    await postgres.query(`CREATE TABLE note AS SELECT '${this.#marker.toString()}'::text AS line`);
    this.#report.say(`initialised: ${megabytes(Number(await postgres.query("SELECT pg_database_size('postgres')")))}`);
    const bench = new Pgbench(postgres, join(scratch, 'bench'));
    this.#pgbench = bench;
    bench.start();
    await sleep(WARM_UP_MS, undefined, { signal: this.#signal });
    return bench;
  }

  async #loseThePrimary(volume: ApiVolume, bench: Pgbench): Promise<NodeFacts> {
    this.#report.chapter('The primary is killed in the middle of it');
    const before = await this.#current(volume);
    const victim = this.#nodeOf(before.master.nodeID);
    const killedAt = Date.now();
    const started = performance.now();
    await this.#cluster.killNode(victim.name);
    this.#report.say(`SIGKILL to the agent of ${victim.name}`);
    const after = await waitFor(
      'a replica to be promoted',
      async () => {
        const now = await this.#current(volume);
        return now.master.id !== before.master.id && now.master.health === 'online' ? now : undefined;
      },
      { timeoutMs: FAILOVER_TIMEOUT_MS, intervalMs: 50, signal: this.#signal },
    );
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    this.#report.check(
      'a replica is promoted',
      after.master.nodeID !== victim.id,
      `${this.#nodeOf(after.master.nodeID).name}, ${seconds} s after the kill`,
    );
    const goesOn = await bench.completedAfter(killedAt + MAX_PAUSE_MS / 10, FAILOVER_TIMEOUT_MS);
    const pause = longestPause(bench.completions(), killedAt);
    this.#report.check(
      'pgbench goes on',
      goesOn && pause < MAX_PAUSE_MS,
      `longest pause between two transactions: ${(pause / 1000).toFixed(2)} s`,
    );
    const restored = await this.#untilReady(volume, 1);
    const replica = restored.replicas?.find(({ health }) => health === 'ready');
    this.#report.check(
      'a new replica is provisioned and filled',
      replica !== undefined && replica.id !== before.master.id,
      replica === undefined ? '' : `on ${this.#nodeOf(replica.nodeID).name}`,
    );
    return victim;
  }

  /** Bytes that were written to the block device since it exists, as its kernel counted. */
  #bytesWritten(device: string): number {
    const stat = readFileSync(`/sys/class/block/${basename(realpathSync(device))}/stat`, 'utf8');
    return Number(stat.trim().split(/\s+/)[6]) * SECTOR_BYTES;
  }

  async #comeBack(volume: ApiVolume, killed: NodeFacts, writtenMeanwhile: () => number): Promise<void> {
    this.#report.chapter('The killed node comes back');
    const earlier = new Set((await this.#log.ofVolume(volume.id)).map(({ runId }) => runId));
    await sleep(AWAY_MS, undefined, { signal: this.#signal });
    // With one replica it would be one copy too many; with two it is wanted again.
    await this.#cluster.api.setReplicas(volume, 2);
    await this.#cluster.startNode(killed.name);
    const started = performance.now();
    await this.#untilReady(volume, 2);
    const seconds = ((performance.now() - started) / 1000).toFixed(1);
    const sync = await waitFor(
      'the delta sync among the workflows',
      async () => {
        const done = (await this.#log.ofVolume(volume.id)).filter(
          ({ type, status, runId }) => type === 'DeltaSync' && status === 'completed' && !earlier.has(runId),
        );
        return done.at(-1);
      },
      { timeoutMs: QUIET_TIMEOUT_MS, signal: this.#signal },
    );
    const { kind, blocksCopied, bytesCopied } = (await this.#log.result(sync)) as SyncResult;
    const written = writtenMeanwhile();
    const changed = blocksCopied * BLOCK_BYTES;
    this.#report.say(
      `while ${killed.name} was away, ${megabytes(written)} were written, which changed ${blocksCopied} blocks ` +
        `(${megabytes(changed)}); the sync copied those: ${megabytes(bytesCopied)} compressed, in ${seconds} s`,
    );
    this.#report.check(
      'its copy gets only what it missed',
      kind === 'delta' && bytesCopied > 0 && changed <= written + IN_FLIGHT_BYTES,
      `a ${kind} sync`,
    );
    this.#report.check('three copies are in sync', copiesOf(await this.#current(volume)).length === 3);
  }

  async #inspectDatabase(bench: Pgbench): Promise<void> {
    this.#report.chapter("The database's own checks");
    const postgres = this.#postgres!;
    const { transactions, failedTransactions, errors } = await bench.stop();
    this.#report.check('pgbench saw no error', errors.length === 0 && failedTransactions === 0, errors.join('; '));
    const rows = Number(await postgres.query('SELECT count(*) FROM pgbench_history'));
    this.#report.check(
      'every transaction that was acknowledged is there',
      transactions > 0 && rows === transactions,
      `${rows} rows of history for ${transactions} transactions`,
    );
    const sums = await postgres.query(
      'SELECT (SELECT sum(abalance) FROM pgbench_accounts) = (SELECT sum(delta) FROM pgbench_history) AND ' +
        '(SELECT sum(bbalance) FROM pgbench_branches) = (SELECT sum(delta) FROM pgbench_history) AND ' +
        '(SELECT sum(tbalance) FROM pgbench_tellers) = (SELECT sum(delta) FROM pgbench_history)',
    );
    this.#report.check('all balances agree', sums === 't');
    await this.#holds('amcheck finds every table and index sound', async () => {
      await postgres.checkStructure();
      return 'heap, indexes, and each against the other';
    });
    await postgres.stop();
    this.#databaseRuns = false;
    await this.#holds('the checksum of every page is right', async () => `${await postgres.checkPages()} pages`);
  }

  /** A check that holds when `work` does not fail; what it resolves to is the detail. */
  async #holds(claim: string, work: () => Promise<string>): Promise<void> {
    try {
      this.#report.check(claim, true, await work());
    } catch (error) {
      this.#report.check(claim, false, (error as Error).message);
    }
  }

  async #compareCopies(volume: ApiVolume, consumer: NodeFacts, device: string): Promise<void> {
    this.#report.chapter('The copies against each other, and against the plain text');
    await unmountAll(this.#mountPoint);
    const report = await waitFor(
      'the volume to be quiet',
      async () => {
        try {
          return await this.#cluster.api.verify(volume);
        } catch (error) {
          // 422: still being written to.
          if (error instanceof ApiError && error.status === 422) return undefined;
          throw error;
        }
      },
      { timeoutMs: QUIET_TIMEOUT_MS, intervalMs: 500, signal: this.#signal },
    );
    const blocks = report.deployments.map((copy) => copy.blocks);
    this.#report.check(
      'all copies hold the same blocks with the same orders and checksums',
      report.identical && report.deployments.length === 3 && (blocks[0] ?? 0) > 0,
      `${report.deployments.length} copies of ${blocks[0]} blocks, ${report.differingBlocks} differ`,
    );
    // The same search must find the text where it is to be found, or it proves nothing.
    const visible = fileHolds(device, this.#marker);
    this.#report.check(`the plain text is on the device of ${consumer.name}`, visible);
    for (const node of this.#cluster.nodes) {
      const { files, found } = searchTree(node.rootDir, this.#marker);
      this.#report.check(
        `none of it is on the disk of ${node.name}`,
        found.length === 0,
        found.length === 0 ? `${files} files searched` : found.join(', '),
      );
    }
  }

  async #showWorkflows(volume: ApiVolume): Promise<void> {
    this.#report.chapter("What happened, in the Temporal server's web page (while the cluster runs)");
    const links: WorkflowLink[] = await this.#log.ofVolume(volume.id);
    for (const { type, status, url } of links) this.#report.say(`${type.padEnd(16)} ${status.padEnd(10)} ${url}`);
    if (links.some(({ type, status }) => type === 'RebuildReplica' && status === 'failed')) {
      this.#report.say('(A RebuildReplica that failed found no third node while one was away; it is tried again.)');
    }
    for (const type of ['ProvisionVolume', 'AttachVolume', 'Failover', 'RebuildReplica', 'DeltaSync']) {
      this.#report.check(
        `workflow ${type} did its part`,
        links.some((link) => link.type === type && link.status === 'completed'),
      );
    }
  }
}

interface SyncResult {
  readonly kind: 'delta' | 'full';
  readonly blocksCopied: number;
  readonly bytesCopied: number;
}
