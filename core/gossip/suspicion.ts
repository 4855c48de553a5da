import type { Timer } from '../ports.js';
import type { NodeId } from '../types.js';
import type { LocalHealth } from './health.js';
import type { GossipSettings } from './types.js';

/**
 * The time that a suspected member has to speak up. It begins long and shrinks with every independent suspicion
 * (Lifeguard): max - (max - min) × log(confirmations + 1) / log(needed + 1).
 */
export class Suspicion {
  readonly #health: LocalHealth;
  readonly #now: () => number;
  readonly #begun: number;
  readonly #minMs: number;
  readonly #maxMs: number;
  readonly #needed: number;
  readonly #graceMs: number;
  readonly #expired: () => void;
  readonly #by = new Set<NodeId>();
  #timer: Timer;

  constructor(options: {
    by: NodeId;
    size: number;
    settings: GossipSettings;
    health: LocalHealth;
    now: () => number;
    expired: () => void;
  }) {
    const { settings, size } = options;
    this.#health = options.health;
    this.#now = options.now;
    this.#begun = options.now();
    this.#expired = options.expired;
    this.#graceMs = settings.probeMs;
    this.#minMs = settings.suspicionFactor * settings.probeMs * Math.max(1, Math.log10(size));
    // Others that could confirm: all but the suspect and this node.
    const wanted = settings.suspicionFactor - 2;
    this.#needed = size - 2 < wanted ? 0 : wanted;
    this.#maxMs = this.#needed === 0 ? this.#minMs : this.#minMs * settings.suspicionMaxFactor;
    this.#by.add(options.by);
    this.#timer = this.#start();
  }

  /** Whether this was news. */
  confirm(by: NodeId): boolean {
    if (this.#by.has(by) || this.#by.size > this.#needed) return false;
    this.#by.add(by);
    this.#timer.cancel();
    this.#timer = this.#start();
    return true;
  }

  cancel(): void {
    this.#timer.cancel();
  }

  #start(): Timer {
    const confirmations = this.#by.size - 1;
    const share = this.#needed === 0 ? 1 : Math.log(confirmations + 1) / Math.log(this.#needed + 1);
    const totalMs = Math.max(this.#minMs, this.#maxMs - (this.#maxMs - this.#minMs) * share);
    const leftMs = Math.max(0, this.#begun + totalMs - this.#now());
    return this.#health.judge(leftMs, this.#graceMs, this.#expired);
  }
}
