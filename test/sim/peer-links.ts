/** A node's connections with the others. The lower name dials, again and again, for as long as both are there. */

import type { NodeId } from '../../core/types.js';
import { garbled } from './damage.js';
import { copied } from './leases.js';
import { Connection, type End } from './network.js';
import type { SimNode } from './node.js';
import type { SimProcess } from './scheduler.js';
import type { Envelope, World } from './world.js';

export interface LinkEvents {
  message(envelope: Envelope): void;
  up(node: NodeId): void;
  down(node: NodeId): void;
}

interface Link {
  readonly connection: Connection;
  readonly end: 0 | 1;
}

export class PeerLinks {
  readonly #world: World;
  readonly #node: SimNode;
  readonly #events: LinkEvents;
  readonly #links = new Map<NodeId, Link>();
  #process: SimProcess | undefined;

  constructor(world: World, node: SimNode, events: LinkEvents) {
    this.#world = world;
    this.#node = node;
    this.#events = events;
  }

  isUp(node: NodeId): boolean {
    return this.#links.has(node);
  }

  send(to: NodeId, envelope: Envelope): void {
    if (to === this.#node.id) return;
    const link = this.#links.get(to);
    if (link === undefined) return;
    const message = garbled(copied(envelope.message), this.#world.garbling);
    link.connection.send(link.end, { ...envelope, message });
  }

  /** Whether the node's process takes connections. */
  get begun(): boolean {
    return this.#process !== undefined;
  }

  /** The node's process is ready for connections. */
  begin(process: SimProcess): void {
    this.#process = process;
    for (const other of this.#world.nodes) if (this.#dials(other)) this.#connect(process, other);
  }

  /** The process is gone. */
  end(): void {
    this.#process = undefined;
    this.#links.clear();
  }

  get #accepting(): boolean {
    return this.#process !== undefined && !this.#process.paused;
  }

  #dials(other: SimNode): boolean {
    return this.#node.id < other.id;
  }

  #connect(process: SimProcess, other: SimNode): void {
    const { network, scheduler, random } = this.#world;
    const attempt = (): void => {
      if (this.#process !== process || this.#links.has(other.id)) return;
      const reachable = this.#accepting && other.links.#accepting && !network.isCut(this.#node.name, other.name);
      if (!reachable) scheduler.after(random.between(20, 300), attempt);
      else this.#establish(other);
    };
    scheduler.after(random.between(1, 100), attempt);
  }

  #establish(other: SimNode): void {
    const { network, scheduler } = this.#world;
    const there = other.links;
    // A connection that only the other side still believes in: it is replaced, as by the agent.
    there.#drop(this.#node.id);
    const connection = new Connection(network, this.#end(other), there.#end(this.#node));
    this.#links.set(other.id, { connection, end: 0 });
    there.#links.set(this.#node.id, { connection, end: 1 });
    this.#events.up(other.id);
    scheduler.after(network.delay(), () => {
      other.process.run(() => {
        if (there.#links.get(this.#node.id)?.connection === connection) there.#events.up(this.#node.id);
      });
    });
  }

  #drop(node: NodeId): void {
    const link = this.#links.get(node);
    if (link === undefined) return;
    this.#links.delete(node);
    link.connection.close(link.end);
    this.#events.down(node);
  }

  #end(other: SimNode): End {
    const process = this.#process!;
    let self: Connection | undefined;
    return {
      name: this.#node.name,
      process,
      message: (message) => this.#events.message(message as Envelope),
      opened: (connection) => {
        self = connection;
      },
      down: () => {
        if (this.#process !== process) return;
        if (this.#links.get(other.id)?.connection === self) {
          this.#links.delete(other.id);
          this.#events.down(other.id);
        }
        if (this.#dials(other)) this.#connect(process, other);
      },
    };
  }
}
