/**
 * What the frontends of a simulation did and saw, and whether one disk could have done that: every block is
 * a linearizable register, fenced writes never come back, and what was flushed is never lost.
 */

import { STATE } from './steps/fingerprint.js';

export interface Operation {
  readonly id: number;
  readonly kind: 'write' | 'read' | 'flush';
  readonly client: number;
  readonly generation: number;
  readonly first: number;
  readonly blocks: number;
  readonly zero: boolean;
  readonly fua: boolean;
  readonly invoked: number;
  /** Infinity: never answered, or answered with an error: it may or may not have happened. */
  finished: number;
  status: string;
  /** Of a read: the write that each block is from; 0 for zeroes. */
  seen: number[];
}

/** From here on, acknowledged writes that were not flushed may be gone: an unclean primary had to be chosen. */
export interface Loss {
  readonly at: number;
  /** So may flushed ones: the copies that had them were given up. */
  readonly everything: boolean;
}

interface Cluster {
  readonly write: number;
  readonly zero: boolean;
  readonly start: number;
  /** The earliest end of an operation on this value, and the latest start of one. */
  firstEnd: number;
  lastStart: number;
  /** It was acknowledged, or its value was seen: it has happened. */
  happened: boolean;
}

export class History {
  readonly operations: Operation[] = [];
  readonly losses: Loss[] = [];
  readonly #writethrough: boolean;
  readonly #base: number;

  /** Operations are numbered from `base` + 1 on: the numbers of several volumes are different ones. */
  constructor(writethrough: boolean, base = 0) {
    this.#writethrough = writethrough;
    this.#base = base;
  }

  /** Of times only which was before which. */
  [STATE](): unknown {
    const times = this.operations.flatMap(({ invoked, finished }) => [invoked, finished]);
    times.push(...this.losses.map(({ at }) => at));
    const order = [...new Set(times)].sort((a, b) => a - b);
    const rank = (time: number): number => order.indexOf(time);
    return [
      this.operations.map((one) => ({ ...one, invoked: rank(one.invoked), finished: rank(one.finished) })),
      this.losses.map((one) => ({ ...one, at: rank(one.at) })),
    ];
  }

  begin(operation: Omit<Operation, 'id' | 'finished' | 'status' | 'seen'>): Operation {
    const id = this.#base + this.operations.length + 1;
    const full: Operation = { ...operation, id, finished: Number.POSITIVE_INFINITY, status: 'pending', seen: [] };
    this.operations.push(full);
    return full;
  }

  /** Everything that is wrong; empty if nothing is. */
  problems(blocks: number): string[] {
    this.#fence();
    this.#group(blocks);
    const problems = this.operations.flatMap((operation) => {
      const fencedAt = this.#fencedAt.get(operation.generation) ?? Number.POSITIVE_INFINITY;
      if (operation.kind !== 'write' || operation.status !== 'ok' || operation.invoked <= fencedAt) return [];
      return [
        `write ${operation.id} of generation ${operation.generation} was done after ${fencedAt.toFixed(1)}, when it was fenced`,
      ];
    });
    for (let block = 0; block < blocks && problems.length < 10; block++) problems.push(...this.#checkBlock(block));
    return problems;
  }

  /**
   * A write that was never acknowledged to an older attachment cannot take effect after a younger one has got
   * an answer [13].
   */
  readonly #fencedAt = new Map<number, number>();

  #fence(): void {
    const answeredAt = new Map<number, number>();
    for (const { generation, finished } of this.operations) {
      answeredAt.set(generation, Math.min(finished, answeredAt.get(generation) ?? Number.POSITIVE_INFINITY));
    }
    // Generations may be far apart: those that occur, the youngest first.
    let fencedAt = Number.POSITIVE_INFINITY;
    for (const [generation, at] of [...answeredAt].sort(([a], [b]) => b - a)) {
      this.#fencedAt.set(generation, fencedAt);
      fencedAt = Math.min(fencedAt, at);
    }
  }

  readonly #flushesOf = new Map<number, Operation[]>();
  /** Reads and writes, by block. */
  #touching: Operation[][] = [];

  #group(blocks: number): void {
    this.#flushesOf.clear();
    this.#touching = Array.from({ length: blocks }, () => []);
    for (const operation of this.operations) {
      const { kind, client, status, first } = operation;
      if (kind === 'flush') {
        if (status !== 'ok') continue;
        const known = this.#flushesOf.get(client);
        if (known === undefined) this.#flushesOf.set(client, [operation]);
        else known.push(operation);
      } else {
        const end = Math.min(blocks, first + operation.blocks);
        for (let block = first; block < end; block++) this.#touching[block]!.push(operation);
      }
    }
  }

  #endOf(write: Operation): number {
    const acknowledged = write.status === 'ok' ? write.finished : Number.POSITIVE_INFINITY;
    return Math.min(acknowledged, this.#fencedAt.get(write.generation) ?? Number.POSITIVE_INFINITY);
  }

  /** All that happened to a block, for whoever looks into a failure. */
  ofBlock(block: number): string[] {
    return this.operations
      .filter((o) => o.kind !== 'flush' && block >= o.first && block < o.first + o.blocks)
      .map((o) => {
        const what = o.kind === 'read' ? `saw ${o.seen[block - o.first]}` : o.zero ? 'zeroes' : 'data';
        const fua = o.fua ? ' fua' : '';
        return `${o.id} ${o.kind}${fua} ${what} by ${o.client} (${o.generation}) ${o.invoked.toFixed(1)}–${o.finished.toFixed(1)} ${o.status}`;
      });
  }

  #checkBlock(block: number): string[] {
    const touching = this.#touching[block]!;
    const writes = touching.filter((operation) => operation.kind === 'write');
    const reads = touching.filter((operation) => operation.kind === 'read' && operation.status === 'ok');
    const boundaries = [0, ...this.losses.map((loss) => loss.at), Number.POSITIVE_INFINITY];
    const problems: string[] = [];
    for (let i = 0; i + 1 < boundaries.length; i++) {
      const from = boundaries[i]!;
      const to = boundaries[i + 1]!;
      problems.push(...this.#checkSegment(block, writes, reads, from, to));
    }
    return problems;
  }

  /** Between two losses, with whatever a loss has left as the value at its beginning. */
  #checkSegment(block: number, writes: Operation[], reads: Operation[], from: number, to: number): string[] {
    const problems: string[] = [];
    const clusters = new Map<number, Cluster>();
    const zeroes: { start: number; end: number }[] = [];
    const add = (write: Operation, start: number, end: number): void => {
      clusters.set(write.id, {
        write: write.id,
        zero: write.zero,
        start,
        firstEnd: end,
        lastStart: start,
        happened: write.status === 'ok',
      });
      if (write.zero) zeroes.push({ start, end });
    };
    for (const write of writes) {
      if (write.invoked >= to) continue;
      const end = this.#endOf(write);
      if (end <= from) continue; // Belongs to an earlier segment; may be what this one begins with.
      add(write, Math.max(write.invoked, from), end >= to ? Number.POSITIVE_INFINITY : end);
    }
    if (from === 0) zeroes.push({ start: 0, end: 0 });
    else if (this.#mayBegin(undefined, writes, from)) zeroes.push({ start: from, end: from });
    for (const write of writes) {
      if (write.zero && this.#endOf(write) <= from && this.#mayBegin(write, writes, from)) {
        zeroes.push({ start: from, end: from });
      }
    }
    let initial: number | undefined;
    for (const read of reads) {
      if (read.finished <= from || read.finished > to) continue;
      const value = read.seen[block - read.first]!;
      const at = `block ${block}: read ${read.id} (client ${read.client}, ${read.invoked.toFixed(1)}–${read.finished.toFixed(1)})`;
      const start = Math.max(read.invoked, from);
      if (value === 0) {
        if (!this.#zeroPossible(zeroes, clusters, start, read.finished)) problems.push(`${at} saw zeroes`);
        continue;
      }
      let cluster = clusters.get(value);
      if (cluster === undefined) {
        const write = this.operations[value - this.#base - 1];
        if (write === undefined || write.kind !== 'write' || write.invoked > read.finished) {
          problems.push(`${at} saw ${value}, which was never written`);
          continue;
        }
        if (!this.#mayBegin(write, writes, from)) {
          problems.push(`${at} saw write ${value}, which a flushed one had replaced before the loss at ${from}`);
          continue;
        }
        if (initial !== undefined && initial !== value) {
          problems.push(`${at} saw write ${value} where write ${initial} had been seen after the loss at ${from}`);
          continue;
        }
        initial = value;
        add(write, from, from);
        cluster = clusters.get(value)!;
      }
      if (cluster.start > read.finished) problems.push(`${at} saw write ${value} before it began`);
      cluster.happened = true;
      cluster.firstEnd = Math.min(cluster.firstEnd, read.finished);
      cluster.lastStart = Math.max(cluster.lastStart, start);
    }
    problems.push(...this.#checkZones(block, [...clusters.values()]));
    return problems;
  }

  /** Gibbons and Korach's criterion for registers whose values are all different. */
  #checkZones(block: number, clusters: Cluster[]): string[] {
    const problems: string[] = [];
    // What was never seen and never had to happen does not count.
    const known = clusters.filter((cluster) => cluster.happened);
    const forward = known
      .filter((cluster) => cluster.firstEnd < cluster.lastStart)
      .sort((a, b) => a.firstEnd - b.firstEnd);
    for (let i = 0; i + 1 < forward.length; i++) {
      const a = forward[i]!;
      const b = forward[i + 1]!;
      if (b.firstEnd < a.lastStart) problems.push(`block ${block}: writes ${a.write} and ${b.write} alternate`);
    }
    for (const cluster of known) {
      if (cluster.firstEnd < cluster.lastStart) continue;
      const around = forward.find((zone) => zone.firstEnd < cluster.lastStart && cluster.firstEnd < zone.lastStart);
      if (around !== undefined) {
        problems.push(`block ${block}: write ${around.write} was seen after write ${cluster.write} had replaced it`);
      }
    }
    return problems;
  }

  /** Whether some zero may have been the value at a moment of the read, as far as intervals tell. */
  #zeroPossible(
    zeroes: { start: number; end: number }[],
    clusters: Map<number, Cluster>,
    start: number,
    end: number,
  ): boolean {
    return zeroes.some((zero) => {
      if (zero.start > end) return false;
      for (const cluster of clusters.values()) {
        if (cluster.happened && !cluster.zero && cluster.start > zero.end && cluster.firstEnd < start) return false;
      }
      return true;
    });
  }

  /** Whether a block may begin a segment with this write (undefined: never written): nothing flushed came after it. */
  #mayBegin(write: Operation | undefined, writes: Operation[], from: number): boolean {
    return !writes.some((other) => {
      if (other === write || other.invoked >= from || !this.#flushedBefore(other, from)) return false;
      return write === undefined || this.#endOf(write) < other.invoked;
    });
  }

  #flushedBefore(write: Operation, moment: number): boolean {
    if (write.status !== 'ok' || write.finished > moment) return false;
    if (this.losses.some(({ at, everything }) => everything && at >= write.finished && at <= moment)) return false;
    if (write.fua || this.#writethrough) return true;
    // Writes lost earlier are not promised by flushes after that loss.
    const lostAt = this.losses.find((loss) => loss.at >= write.finished)?.at ?? Number.POSITIVE_INFINITY;
    const until = Math.min(moment, lostAt);
    const flushes = this.#flushesOf.get(write.client) ?? [];
    return flushes.some((flush) => flush.invoked >= write.finished && flush.finished <= until);
  }
}
