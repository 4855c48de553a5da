/** Frontends of a simulated volume: the production frontend, fed with reads, writes, trims and flushes. */

import { DEFAULT_FRONTEND_SETTINGS } from '../../core/frontend/settings.js';
import { VolumeFrontend } from '../../core/frontend/volume-frontend.js';
import type { IoStatus, SessionMessage } from '../../core/messages.js';
import type { SessionChannel, SessionEvents } from '../../core/ports.js';
import { release } from '../../core/record.js';
import type { BlockNumber, DeploymentId, Generation, SessionNumber } from '../../core/types.js';
import { BLOCK_BYTES, dataBatch, writesOf, zeroBatch } from './blocks.js';
import type { History, Operation } from './history.js';
import { lackOfDurable, promiseOfFlush } from './in-sync.js';
import { LossReport } from './loss-report.js';
import { Connection, type End } from './network.js';
import type { SimNode } from './node.js';
import type { SeededRandom, SimProcess } from './scheduler.js';
import type { SimVolume } from './volume.js';
import type { World } from './world.js';

export interface WorkloadSettings {
  /** Blocks that are used; the volume has more. */
  readonly blocks: number;
  readonly volumeBlocks: number;
  readonly pauseMs: number;
  readonly maxPending: number;
  readonly writethrough: boolean;
  /** Share of operations that are flushes. */
  readonly flushes: number;
}

export function frontendOn(node: string): string {
  return `${node}/frontend`;
}

/** One attachment: a frontend process on a node. Dies with the node. */
export class SimClient {
  readonly number: number;
  readonly generation: Generation;
  readonly node: SimNode;
  readonly #world: World;
  readonly #volume: SimVolume;
  readonly #history: History;
  readonly #settings: WorkloadSettings;
  readonly #process: SimProcess;
  readonly #frontend: VolumeFrontend;
  readonly #random: SeededRandom;
  pending = 0;
  stopped = false;
  fenced = false;
  /** It has got an answer: its generation is in the log of the volume. */
  served = false;
  readonly #lossReport = new LossReport();

  constructor(
    world: World,
    volume: SimVolume,
    node: SimNode,
    number: number,
    generation: Generation,
    options: { readonly random: SeededRandom; readonly nextSession: () => SessionNumber },
  ) {
    const settings = volume.workload;
    this.#world = world;
    this.#volume = volume;
    this.#history = volume.history;
    this.#settings = settings;
    this.node = node;
    this.number = number;
    this.generation = generation;
    this.#process = node.process;
    this.#random = options.random;
    this.#frontend = new VolumeFrontend({
      volume: {
        id: volume.id,
        blockSize: BLOCK_BYTES,
        blocks: settings.volumeBlocks,
        writethrough: settings.writethrough,
      },
      generation,
      session: options.nextSession,
      connector: { connect: (target, events) => this.#connect(world.node(target.node), target.deployment, events) },
      clock: node.clock,
      random: options.random.fork(),
      settings: DEFAULT_FRONTEND_SETTINGS,
      events: {
        attention: () => volume.attention(),
        fenced: () => {
          this.fenced = true;
          volume.trace(`client ${number}`, 'is fenced');
        },
        log: (level, message, fields) => volume.trace(`client ${number}`, `${level}: ${message}`, fields),
      },
    });
    world.etcd.watch(node.name, this.#process, volume.id, (record) =>
      this.#frontend.onMembership(record, volume.spec.placements),
    );
    this.#loop();
  }

  /** In the network: sessions may fail where the connections between the nodes do not. */
  get #address(): string {
    return frontendOn(this.node.name);
  }

  get alive(): boolean {
    return this.#process.alive && !this.fenced;
  }

  /** The primary's record says that acknowledged writes were lost. */
  onLoss(): void {
    this.#lossReport.lost();
  }

  stop(): void {
    this.stopped = true;
  }

  /** In good order: everything is flushed, or fails. */
  close(): Promise<void> {
    return this.#frontend.close();
  }

  #connect(target: SimNode, deployment: DeploymentId, events: SessionEvents): SessionChannel {
    const { network, scheduler, leases } = this.#world;
    const random = this.#random;
    const reachable = target.process.alive && !target.process.paused && !network.isCut(this.#address, target.name);
    if (!reachable) {
      scheduler.after(random.between(1, 50), () => this.#process.run(() => events.closed('unreachable')));
      return { send: () => {}, close: () => {} };
    }
    let closed = false;
    const end: End = {
      name: this.#address,
      process: this.#process,
      message: (raw) => {
        const { message, leave } = leases.arrived(raw as SessionMessage, this.#process);
        events.message(message);
        leave();
      },
      down: () => events.closed('connection lost'),
    };
    const connection: Connection = new Connection(
      network,
      end,
      target.sessionEnd(
        this.#volume,
        deployment,
        (message) => connection.send(1, message),
        () => closed || connection.broken,
      ),
    );
    return {
      send: (message) => connection.send(0, message),
      close: () => {
        closed = true;
        connection.close(0);
      },
    };
  }

  #loop(): void {
    const { scheduler } = this.#world;
    scheduler.after(this.#random.between(0.2, 1.8) * this.#settings.pauseMs, () => {
      if (!this.alive || this.stopped) return;
      if (this.pending < this.#settings.maxPending) this.#process.run(() => this.#act());
      this.#loop();
    });
  }

  #act(): void {
    const random = this.#random;
    const blocks = random.chance(0.7) ? 1 : random.int(1, Math.min(5, this.#settings.blocks));
    const first = random.int(0, this.#settings.blocks - blocks);
    const choice = random.next();
    if (random.chance(this.#settings.flushes)) this.flush();
    else if (choice < 0.6 && this.#world.writing)
      this.write(first, blocks, random.chance(0.15), random.chance(this.#settings.flushes));
    else this.read(first, blocks);
  }

  #begin(kind: Operation['kind'], first: number, blocks: number, zero = false, fua = false): Operation {
    this.pending++;
    return this.#history.begin({
      kind,
      client: this.number,
      generation: this.generation,
      first,
      blocks,
      zero,
      fua,
      invoked: this.#world.scheduler.now,
    });
  }

  #end(operation: Operation, status: IoStatus): void {
    this.pending--;
    operation.status = status;
    if (status !== 'ok') return;
    operation.finished = this.#world.scheduler.now;
    this.served = true;
  }

  write(first: number, blocks: number, zero: boolean, fua: boolean): void {
    const operation = this.#begin('write', first, blocks, zero, fua);
    const made = zero ? zeroBatch(first, blocks) : dataBatch(operation.id, first, blocks, this.#random.int(8, 64));
    const { batch, leave } = this.#world.leases.lend(made, this.#process);
    void this.#frontend.write(batch, fua).then((status) => {
      leave();
      this.#end(operation, status);
      if (status === 'ok' && !fua && !this.#settings.writethrough) this.#lossReport.acknowledged();
    });
  }

  read(first: number, blocks: number): void {
    const operation = this.#begin('read', first, blocks);
    void this.#frontend.read(first as BlockNumber, blocks).then(({ status, batch }) => {
      if (status === 'ok') operation.seen = writesOf(batch, first);
      release(batch);
      this.#end(operation, status);
    });
  }

  flush(): void {
    const operation = this.#begin('flush', 0, 0);
    const keptToItself = this.#lossReport.flush();
    const promise = promiseOfFlush(this.#volume.record, this.#volume.openCopies);
    void this.#frontend.flush().then((status) => {
      this.#end(operation, status);
      const { record, openCopies } = this.#volume;
      const lack = status === 'ok' ? lackOfDurable(promise, record, openCopies) : undefined;
      if (lack !== undefined) this.#volume.problem(lack);
      if (keptToItself(status)) this.#volume.problem(`flush ${operation.id} did not report a loss`);
    });
  }
}
