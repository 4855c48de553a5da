/** A cluster of gossiping nodes on virtual time, over a network that loses and delays datagrams. */

import { Swim } from '../../../core/gossip/swim.js';
import {
  DEFAULT_GOSSIP_SETTINGS,
  type GossipMessage,
  type MemberInfo,
  type MemberStatus,
} from '../../../core/gossip/types.js';
import type { Clock, Random, Timer } from '../../../core/ports.js';
import type { NodeId } from '../../../core/types.js';

/** mulberry32 */
export function seeded(seed: number): Random {
  let state = seed >>> 0;
  const next = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), state | 1);
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
  return { next, uuid: () => '00000000-0000-4000-8000-000000000000' };
}

interface Event {
  at: number;
  readonly order: number;
  readonly kind: 'timer' | 'datagram';
  readonly node: SimNode;
  readonly run: () => void;
  cancelled: boolean;
}

export interface Change {
  readonly at: number;
  readonly observer: NodeId;
  readonly node: NodeId;
  readonly status: MemberStatus;
}

export class SimNode {
  readonly info: MemberInfo;
  readonly swim: Swim;
  up = true;
  /** Nothing of this node runs before; what was due then runs, timers first. */
  pausedUntil = 0;

  constructor(info: MemberInfo, swim: Swim) {
    this.info = info;
    this.swim = swim;
  }
}

export interface SimOptions {
  readonly seed: number;
  readonly nodes: number;
  /** Share of datagrams that are lost, 0–1. */
  readonly loss?: number;
  readonly delayMs?: readonly [number, number];
}

export class GossipSim {
  readonly nodes: SimNode[] = [];
  readonly changes: Change[] = [];
  readonly random: Random;
  /** Whether a datagram gets from one address to another. */
  reachable: (from: string, to: string) => boolean = () => true;
  now = 0;
  datagrams = 0;
  readonly #options: SimOptions;
  #events: Event[] = [];
  #order = 0;

  constructor(options: SimOptions) {
    this.#options = options;
    this.random = seeded(options.seed);
    for (let i = 0; i < options.nodes; i++) this.add(i);
    for (const node of this.nodes) node.swim.start(['10.0.0.0:5711']);
  }

  add(i: number): SimNode {
    const id = `00000000-0000-4000-8000-${i.toString(16).padStart(12, '0')}` as NodeId;
    const host = `10.0.${i >> 8}.${i & 255}`;
    const addresses = { gossip: `${host}:5711`, io: `${host}:5703`, api: `${host}:5705` };
    const info: MemberInfo = { node: id, name: `node-${i}`, addresses };
    const clock: Clock = {
      now: () => this.now,
      timestamp: () => '',
      after: (delayMs, run) => this.#schedule(node, 'timer', delayMs, run),
    };
    const swim = new Swim({
      self: info,
      incarnation: Math.floor(this.now) + 1,
      settings: DEFAULT_GOSSIP_SETTINGS,
      clock,
      random: this.random,
      measure: (update) => JSON.stringify(update).length,
      send: (address, message) => this.#send(node, address, message),
      changed: (member) => this.changes.push({ at: this.now, observer: id, node: member.node, status: member.status }),
    });
    const node = new SimNode(info, swim);
    this.nodes.push(node);
    return node;
  }

  /** Runs until `until` milliseconds, or until `stop` says so. Returns whether it did. */
  run(until: number, stop: () => boolean = () => false): boolean {
    for (;;) {
      const event = this.#pop();
      if (event === undefined || event.at > until) {
        if (event !== undefined) this.#push(event);
        this.now = until;
        return stop();
      }
      if (event.cancelled || !event.node.up) continue;
      if (event.node.pausedUntil > event.at) {
        event.at = event.node.pausedUntil;
        this.#push(event);
        continue;
      }
      this.now = event.at;
      event.run();
      if (stop()) return true;
    }
  }

  statusOf(observer: SimNode, node: SimNode): MemberStatus | undefined {
    return observer.swim.members().find((member) => member.node === node.info.node)?.status;
  }

  /** Whether all running nodes of `group` see all of `group` alive. */
  agree(group: readonly SimNode[] = this.nodes): boolean {
    return group.every((a) => group.every((b) => this.statusOf(a, b) === 'alive'));
  }

  #send(from: SimNode, address: string, message: GossipMessage): void {
    this.datagrams += 1;
    const to = this.nodes.find((node) => node.up && node.info.addresses.gossip === address);
    const source = from.info.addresses.gossip;
    if (to === undefined || this.random.next() < (this.#options.loss ?? 0)) return;
    const [min, max] = this.#options.delayMs ?? [0.1, 5];
    // As over a real network: what arrives is a copy.
    const copy = structuredClone(message);
    this.#schedule(to, 'datagram', min + this.random.next() * (max - min), () => {
      if (this.reachable(source, address)) to.swim.receive(copy, source);
    });
  }

  #schedule(node: SimNode, kind: Event['kind'], delayMs: number, run: () => void): Timer {
    this.#order += 1;
    const event: Event = { at: this.now + delayMs, order: this.#order, kind, node, run, cancelled: false };
    this.#push(event);
    return {
      cancel: () => {
        event.cancelled = true;
      },
    };
  }

  /* A binary heap. Timers run before datagrams of the same moment, as in Node's event loop after a stall. */

  #before(a: Event, b: Event): boolean {
    if (a.at !== b.at) return a.at < b.at;
    if (a.kind !== b.kind) return a.kind === 'timer';
    return a.order < b.order;
  }

  #push(event: Event): void {
    const heap = this.#events;
    let i = heap.push(event) - 1;
    while (i > 0) {
      const parent = (i - 1) >> 1;
      if (!this.#before(event, heap[parent]!)) break;
      heap[i] = heap[parent]!;
      i = parent;
    }
    heap[i] = event;
  }

  #pop(): Event | undefined {
    const heap = this.#events;
    const top = heap[0];
    const last = heap.pop();
    if (top === undefined || last === undefined || heap.length === 0) return top;
    let i = 0;
    for (;;) {
      let child = 2 * i + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && this.#before(heap[child + 1]!, heap[child]!)) child += 1;
      if (!this.#before(heap[child]!, last)) break;
      heap[i] = heap[child]!;
      i = child;
    }
    heap[i] = last;
    return top;
  }
}
