/** A frontend: the production one, on a node, with sessions whose messages take their turn. */

import { DEFAULT_FRONTEND_SETTINGS } from '../../../core/frontend/settings.js';
import { VolumeFrontend } from '../../../core/frontend/volume-frontend.js';
import type { FrontendMessage, IoStatus, SessionMessage } from '../../../core/messages.js';
import type { SessionChannel, SessionEvents, SessionLink } from '../../../core/ports.js';
import { type Batch, release } from '../../../core/record.js';
import type { BlockNumber, Generation, SessionNumber } from '../../../core/types.js';
import { BLOCK_BYTES, dataBatch, writesOf, zeroBatch } from '../blocks.js';
import type { History, Operation } from '../history.js';
import { lackOfDurable, promiseOfFlush } from '../in-sync.js';
import { LossReport } from '../loss-report.js';
import { type StepNode, type StepWorld, VOLUME, VOLUME_BLOCKS } from './node.js';

const PAYLOAD_BYTES = 16;

export class StepClient {
  readonly name: string;
  readonly node: StepNode;
  readonly generation: number;
  readonly #number: number;
  readonly #world: StepWorld;
  readonly #history: History;
  readonly #now: () => number;
  readonly #process;
  readonly #frontend: VolumeFrontend;
  #session: Session | undefined;
  #sessions = 0;
  #connections = 0;
  pending = 0;
  fenced = false;
  readonly #lossReport = new LossReport();

  constructor(world: StepWorld, history: History, now: () => number, node: StepNode, generation: number) {
    this.#world = world;
    this.#history = history;
    this.#now = now;
    this.node = node;
    this.generation = generation;
    this.#number = generation;
    this.name = `client${generation}`;
    this.#process = node.process;
    this.#frontend = new VolumeFrontend({
      volume: {
        id: VOLUME,
        blockSize: BLOCK_BYTES,
        blocks: VOLUME_BLOCKS,
        writethrough: world.spec.durability === 'writethrough',
      },
      generation: generation as Generation,
      session: () => ++this.#sessions as SessionNumber,
      connector: {
        connect: (target, events) => this.#connect(world.nodes.find(({ name }) => name === target.node)!, events),
      },
      clock: node.clock,
      random: world.random.fork(),
      settings: DEFAULT_FRONTEND_SETTINGS,
      events: {
        attention: () => {},
        fenced: () => {
          this.fenced = true;
          world.trace(this.name, 'is fenced');
        },
        log: (level, message, fields) => world.trace(this.name, `${level}: ${message}`, fields),
      },
    });
    world.etcd.watch(this.name, this.name, (record) => {
      if (this.alive) this.#frontend.onMembership(record, world.spec.placements);
    });
  }

  get alive(): boolean {
    return this.#process.alive && !this.fenced;
  }

  get connected(): boolean {
    return this.#session?.alive === true;
  }

  /** The node of its session. */
  get server(): StepNode | undefined {
    return this.#session?.server;
  }

  #connect(target: StepNode, events: SessionEvents): SessionChannel {
    const { queues, links } = this.#world;
    const { name } = this;
    const session = new Session(this.#world, name, ++this.#connections, target, events);
    this.#session = session;
    if (!target.listens || links.isCut(this.node.name, target.name)) {
      queues.post(`${session.name}>${name}`, name, 'cannot connect', () => events.closed('unreachable'));
      return { send: () => {}, close: () => {} };
    }
    session.alive = true;
    return { send: (message) => session.send(message), close: () => session.close() };
  }

  /** The connection is gone; what was under way may or may not arrive. */
  disconnect(keep: (queue: string) => number): void {
    this.#session?.break(keep);
  }

  /** Nothing reaches it from its server, or its server from it; neither notices. */
  mute(): void {
    this.#session?.hold();
  }

  /** Its process is gone. */
  end(): void {
    this.#world.etcd.forget(this.name);
    this.#session?.close();
    this.#world.queues.clear(this.name);
  }

  onLoss(): void {
    this.#lossReport.lost();
  }

  #begin(kind: Operation['kind'], first: number, blocks: number, zero = false, fua = false): Operation {
    this.pending++;
    const { generation } = this;
    const invoked = this.#now();
    const operation = this.#history.begin({
      kind,
      client: this.#number,
      generation,
      first,
      blocks,
      zero,
      fua,
      invoked,
    });
    this.#world.trace(this.name, `${kind} ${operation.id}${zero ? ' of zeroes' : ''}: blocks ${first}+${blocks}`);
    return operation;
  }

  #end(operation: Operation, status: IoStatus): void {
    this.pending--;
    operation.status = status;
    if (status === 'ok') operation.finished = this.#now();
    this.#world.trace(this.name, `${operation.kind} ${operation.id}: ${status} ${operation.seen}`);
  }

  write(first: number, blocks: number, zero = false, fua = false): void {
    const operation = this.#begin('write', first, blocks, zero, fua);
    const batch: Batch = zero ? zeroBatch(first, blocks) : dataBatch(operation.id, first, blocks, PAYLOAD_BYTES);
    void this.#frontend.write(batch, fua).then((status) => {
      this.#end(operation, status);
      const durable = fua || this.#world.spec.durability === 'writethrough';
      if (status === 'ok' && !durable) this.#lossReport.acknowledged();
    });
  }

  read(first: number, blocks: number): void {
    const operation = this.#begin('read', first, blocks);
    void this.#frontend.read(first as BlockNumber, blocks).then(({ status, batch }) => {
      if (status === 'ok') operation.seen = writesOf(batch);
      release(batch);
      this.#end(operation, status);
    });
  }

  flush(): void {
    const operation = this.#begin('flush', 0, 0);
    const keptToItself = this.#lossReport.flush();
    const { etcd, openCopies } = this.#world;
    const promise = promiseOfFlush(etcd.record, openCopies);
    void this.#frontend.flush().then((status) => {
      this.#end(operation, status);
      const lack = status === 'ok' ? lackOfDurable(promise, etcd.record, this.#world.openCopies) : undefined;
      if (lack !== undefined) this.#world.problem(lack);
      if (keptToItself(status)) this.#world.problem(`flush ${operation.id} did not report a loss`);
    });
  }
}

/** One connection of a frontend with a node. */
class Session {
  readonly name: string;
  readonly server: StepNode;
  readonly #client: string;
  readonly #world: StepWorld;
  readonly #events: SessionEvents;
  readonly #link: SessionLink;
  readonly #life;
  alive = false;
  /** The frontend has ended it. */
  #closed = false;
  /** The server knows that it has ended. */
  #over = false;

  constructor(world: StepWorld, client: string, number: number, server: StepNode, events: SessionEvents) {
    this.#world = world;
    this.#client = client;
    this.server = server;
    this.#events = events;
    this.#life = server.process;
    this.name = `${client}.${number}`;
    const isOver = (): boolean => this.#over;
    this.#link = {
      send: (message: SessionMessage) => this.#answer(message),
      get closed() {
        return isOver();
      },
    };
  }

  get #toServer(): string {
    return `${this.name}>${this.server.name}`;
  }

  get #toClient(): string {
    return `${this.name}>${this.#client}`;
  }

  send(message: FrontendMessage): void {
    if (!this.alive || this.#closed) return;
    this.#world.queues.post(this.#toServer, this.server.name, message, () => {
      if (this.server.process === this.#life) this.server.openSession(this.#link, message);
    });
  }

  #answer(message: SessionMessage): void {
    if (!this.alive) return;
    this.#world.queues.post(this.#toClient, this.#client, message, () => {
      if (!this.#closed) this.#events.message(message);
    });
  }

  /** By the frontend, or as it is gone. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    if (this.alive) this.#tellServer();
    this.alive = false;
  }

  #tellServer(): void {
    this.#world.queues.post(this.#toServer, this.server.name, 'session is over', () => {
      this.#over = true;
      if (this.server.process === this.#life) this.server.deployment?.onSessionClosed(this.#link);
    });
  }

  hold(): void {
    for (const queue of [this.#toServer, this.#toClient]) this.#world.queues.block(queue);
  }

  break(keep: (queue: string) => number): void {
    if (!this.alive) return;
    this.alive = false;
    const { queues } = this.#world;
    for (const queue of [this.#toServer, this.#toClient]) queues.unblock(queue);
    queues.cut(this.#toServer, keep(this.#toServer));
    queues.cut(this.#toClient, keep(this.#toClient));
    this.#tellServer();
    queues.post(this.#toClient, this.#client, 'connection lost', () => {
      if (!this.#closed) this.#events.closed('connection lost');
    });
  }
}
