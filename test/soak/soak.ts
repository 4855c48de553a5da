/** What `npm run soak` does in each round, and what it counts. */

import { setTimeout as sleep } from 'node:timers/promises';
import type { ApiVolume } from '../../client/types.js';
import type { NodeFacts } from '../../cluster/facts.js';
import { unmountAll } from '../../cluster/volumes.js';
import { waitFor } from '../../cluster/wait.js';
import { startFio } from '../setup/fio.js';
import { FsyncWorkload } from '../setup/fsync-workload.js';
import { type CheckedFsType, MountedVolume } from '../setup/mounted-volume.js';
import type { Run } from '../setup/run-record.js';
import type { TestCluster } from '../setup/test-cluster.js';
import { seeded } from '../unit/store/support.js';

/** fio rewrites and verifies so much in a round, at so many writes of 4 KiB per second: about 40 s. */
const FIO_SIZE = '64m';
const FIO_RATE_IOPS = 400;
const EVENT_MIN_MS = 2_000;
const EVENT_SPREAD_MS = 6_000;
/** Longer than a lease, shorter than what makes an agent a dead one for good. */
const MAX_AWAY_MS = 6_000;
const REMOUNT_TIMEOUT_MS = 60_000;

export interface SoakOptions {
  readonly test: TestCluster;
  readonly seed: number;
  readonly filesystems: boolean;
  readonly say: (line: string) => void;
}

interface InUse {
  readonly volume: ApiVolume;
  readonly fsType: CheckedFsType;
  mounted?: MountedVolume;
  writer?: FsyncWorkload;
  /** Versions are numbered through all rounds. */
  synced: number;
}

type Event = 'kill' | 'kill-consumer' | 'freeze' | 'etcd' | 'temporal';
const EVENTS: readonly Event[] = ['kill', 'kill', 'kill-consumer', 'freeze', 'freeze', 'etcd', 'temporal'];

export class Soak {
  readonly problems: string[] = [];
  readonly #options: SoakOptions;
  readonly #random: () => number;
  readonly #counts = { rounds: 0, fioWrites: 0, files: 0, checks: 0 };
  readonly #events: Record<Event, number> = { kill: 0, 'kill-consumer': 0, freeze: 0, etcd: 0, temporal: 0 };
  readonly #startedAt = performance.now();
  readonly #filesystems: InUse[] = [];
  #blocks!: ApiVolume;

  constructor(options: SoakOptions) {
    this.#options = options;
    const random = seeded(options.seed);
    this.#random = () => random.next();
  }

  async begin(): Promise<void> {
    const { test, filesystems } = this.#options;
    this.#blocks = await test.createVolume('soak-blocks', 1);
    if (!filesystems) return;
    for (const fsType of ['ext4', 'xfs'] as const) {
      this.#filesystems.push({ volume: await test.createVolume(`soak-${fsType}`, 1), fsType, synced: 0 });
    }
  }

  /** fio on a node that nothing happens to, filesystems on another one, and trouble until fio is done. */
  async round(): Promise<void> {
    const { test, seed, say } = this.#options;
    const began = performance.now();
    const number = ++this.#counts.rounds;
    const [safe, consumer] = this.#shuffled(test.cluster.nodes);
    for (const used of this.#filesystems) await this.#use(used, consumer!);
    const uri = await test.attach(this.#blocks, safe!);
    const fio = startFio({ uri, size: FIO_SIZE, seed: seed + number, rateIops: FIO_RATE_IOPS });
    let running = true;
    void fio.done
      .catch(() => undefined)
      .finally(() => {
        running = false;
      });
    const done: Event[] = [];
    while (running) {
      await sleep(EVENT_MIN_MS + this.#random() * EVENT_SPREAD_MS);
      if (!running) break;
      const event = EVENTS[Math.floor(this.#random() * EVENTS.length)]!;
      await this.#trouble(event, safe!, consumer!);
      this.#events[event]++;
      done.push(event);
    }
    await fio.done.then(
      () => {
        this.#counts.fioWrites++;
      },
      (error: Error) => this.problems.push(error.message),
    );
    for (const volume of [this.#blocks, ...this.#filesystems.map((used) => used.volume)]) {
      await test.untilReady(volume, 1);
    }
    for (const used of this.#filesystems) await this.#settle(used, done.includes('kill-consumer'));
    for (const volume of [this.#blocks, ...this.#filesystems.map((used) => used.volume)]) {
      const { identical, differingBlocks } = await test.verify(volume);
      if (!identical) this.problems.push(`${volume.name}: copies differ in ${differingBlocks} blocks`);
    }
    const seconds = ((performance.now() - began) / 1000).toFixed(0);
    say(`round ${number}: ${seconds} s; ${done.join(', ')}; ${this.problems.length} problems`);
  }

  /** Mounts the filesystem on the node and begins to write to it. */
  async #use(used: InUse, node: NodeFacts): Promise<void> {
    used.mounted = new MountedVolume(this.#options.test, used.volume, node, used.fsType);
    await used.mounted.mount();
    used.writer = new FsyncWorkload(used.mounted.mountPoint, used.synced);
  }

  /** Checks the filesystem and its files, and takes it off its node. */
  async #settle(used: InUse, consumerDied: boolean): Promise<void> {
    const { mounted, writer } = used;
    if (mounted === undefined || writer === undefined) return;
    if (!consumerDied && writer.hasEnded) {
      this.problems.push(`${used.volume.name}: an error for the application though its node was well`);
    }
    await writer.stop();
    this.#counts.files += writer.synced - used.synced;
    used.synced = writer.synced;
    if (consumerDied) {
      await mounted.abandon();
      // The kernel may still be giving up the mount whose device died: xfs refuses a second one of the same UUID.
      await waitFor(
        `${used.volume.name} to be mounted again`,
        async () => {
          await mounted.mount();
          return true;
        },
        { timeoutMs: REMOUNT_TIMEOUT_MS, intervalMs: 1_000 },
      );
    }
    await mounted.check().catch((error: Error) => this.problems.push(error.message));
    this.problems.push(...(await writer.problems()));
    this.#counts.checks++;
    await mounted.unmount();
    await this.#options.test.cluster.api.detach(used.volume);
  }

  async #trouble(event: Event, safe: NodeFacts, consumer: NodeFacts): Promise<void> {
    const { cluster } = this.#options.test;
    const awayMs = this.#random() * MAX_AWAY_MS;
    const others = cluster.nodes.filter(({ id }) => id !== safe.id && id !== consumer.id);
    const other = others[Math.floor(this.#random() * others.length)]!;
    switch (event) {
      case 'kill':
      case 'kill-consumer': {
        const { name } = event === 'kill' ? other : consumer;
        await cluster.killNode(name);
        await sleep(awayMs);
        await cluster.startNode(name);
        return;
      }
      case 'freeze': {
        const { pid } = cluster.node(this.#random() < 0.5 ? other.name : consumer.name);
        if (pid === undefined) return;
        process.kill(pid, 'SIGSTOP');
        await sleep(awayMs);
        process.kill(pid, 'SIGCONT');
        return;
      }
      case 'etcd':
      case 'temporal':
        await cluster.servers.stop(event);
        await sleep(awayMs);
        await cluster.servers.start(event);
        return;
    }
  }

  #shuffled<T>(items: readonly T[]): T[] {
    return items
      .map((item) => ({ item, key: this.#random() }))
      .sort((a, b) => a.key - b.key)
      .map(({ item }) => item);
  }

  /** Leaves everything as it is for looking at it, but for what would keep the cluster from stopping. */
  async leave(): Promise<void> {
    for (const { writer } of this.#filesystems) await writer?.stop();
    await unmountAll(this.#options.test.cluster.dataDir.mountDir).catch(() => undefined);
  }

  run(command: string): Run {
    const { rounds, fioWrites, files, checks } = this.#counts;
    const trouble = Object.values(this.#events).reduce((sum, count) => sum + count, 0);
    return {
      kind: 'soak',
      command,
      seconds: Math.round((performance.now() - this.#startedAt) / 1000),
      counts: { rounds, fioRuns: fioWrites, filesSynced: files, filesystemChecks: checks, trouble },
      // It ends with the first round that fails.
      failures: this.problems.length === 0 ? 0 : 1,
    };
  }

  summary(): string {
    const { rounds, fioWrites, files, checks } = this.#counts;
    const minutes = ((performance.now() - this.#startedAt) / 60_000).toFixed(1);
    const events = Object.entries(this.#events).map(([event, count]) => `${event} ${count}`);
    return [
      `${rounds} rounds in ${minutes} minutes, seed ${this.#options.seed}`,
      `  fio: ${fioWrites} times ${FIO_SIZE}B written and verified`,
      `  filesystems: ${files} files synced, ${checks} checks`,
      `  trouble: ${events.join(', ')}`,
      this.problems.length === 0 ? '  nothing was lost' : `  PROBLEMS:\n${this.problems.join('\n')}`,
    ].join('\n');
  }
}
