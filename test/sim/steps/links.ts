/**
 * Connections between the nodes, one per pair. What is sent arrives in order, until the connection breaks: then some
 * first part of what was under way still does, and each end learns of it behind that, in its own time.
 */

import { STATE } from './fingerprint.js';
import type { Queues } from './queues.js';

export interface LinkEnd {
  readonly name: string;
  /** It runs, and can take connections. */
  readonly listens: boolean;
  onUp(peer: string): void;
  onDown(peer: string): void;
}

export class Links {
  readonly #queues: Queues;
  readonly #ends: readonly LinkEnd[];
  /** Pairs that are connected, or were until their ends noticed. */
  readonly #alive = new Set<string>();
  /** `a>b`: a believes that it is connected with b. */
  readonly #up = new Set<string>();
  readonly #cut = new Set<string>();

  constructor(queues: Queues, ends: readonly LinkEnd[]) {
    this.#queues = queues;
    this.#ends = ends;
  }

  isUp(from: string, to: string): boolean {
    return this.#up.has(way(from, to));
  }

  send(from: string, to: string, what: object, run: () => void): void {
    if (this.#up.has(way(from, to)) && this.#alive.has(pair(from, to))) this.#queues.post(way(from, to), to, what, run);
  }

  /** Pairs that could be connected now. */
  connectable(): [LinkEnd, LinkEnd][] {
    const found: [LinkEnd, LinkEnd][] = [];
    for (const a of this.#ends) {
      for (const b of this.#ends) {
        if (a.name >= b.name || !a.listens || !b.listens) continue;
        const key = pair(a.name, b.name);
        if (this.#alive.has(key) || this.#cut.has(key)) continue;
        if (this.#up.has(way(a.name, b.name)) || this.#up.has(way(b.name, a.name))) continue;
        // What the last connection has left behind comes first.
        if (this.#queues.length(way(a.name, b.name)) + this.#queues.length(way(b.name, a.name)) > 0) continue;
        found.push([a, b]);
      }
    }
    return found;
  }

  connect(a: LinkEnd, b: LinkEnd): void {
    this.#alive.add(pair(a.name, b.name));
    for (const [end, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      this.#queues.post(way(peer.name, end.name), end.name, 'is connected', () => {
        this.#up.add(way(end.name, peer.name));
        end.onUp(peer.name);
      });
    }
  }

  get connected(): [string, string][] {
    return [...this.#alive].map((key) => key.split('-') as [string, string]);
  }

  /** `keep`: how much of what is under way in a direction still arrives. */
  break(a: string, b: string, keep: (queue: string) => number): void {
    if (!this.#alive.delete(pair(a, b))) return;
    for (const [end, peer] of [
      [a, b],
      [b, a],
    ] as const) {
      const queue = way(peer, end);
      this.#queues.unblock(queue);
      this.#queues.cut(queue, keep(queue));
      this.#queues.post(queue, end, 'is disconnected', () => {
        if (this.#up.delete(way(end, peer))) this.#ends.find(({ name }) => name === end)!.onDown(peer);
      });
    }
  }

  /** The process is gone, and its side of all connections. */
  crashed(name: string, keep: (queue: string) => number): void {
    for (const { name: peer } of this.#ends) {
      if (peer === name) continue;
      this.break(name, peer, keep);
      this.#queues.cut(way(peer, name), 0);
      this.#queues.unblock(way(peer, name));
      this.#up.delete(way(name, peer));
    }
  }

  /** What is sent stays under way, until the connection is given up. */
  hold(from: string, to: string): void {
    if (this.#alive.has(pair(from, to))) this.#queues.block(way(from, to));
  }

  [STATE](): unknown {
    return [this.#alive, this.#up, this.#cut].map((pairs) => [...pairs].sort());
  }

  isCut(a: string, b: string): boolean {
    return this.#cut.has(pair(a, b));
  }

  cut(a: string, b: string, keep: (queue: string) => number): void {
    this.#cut.add(pair(a, b));
    this.break(a, b, keep);
  }

  heal(): void {
    this.#cut.clear();
    // Also where a connection has ended and nobody knows.
    for (const { name: from } of this.#ends) {
      for (const { name: to } of this.#ends) this.#queues.unblock(way(from, to));
    }
  }
}

export function way(from: string, to: string): string {
  return `${from}>${to}`;
}

function pair(a: string, b: string): string {
  return a < b ? `${a}-${b}` : `${b}-${a}`;
}
