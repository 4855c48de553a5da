/** This node's record and sign of life in etcd, kept up to date while the agent runs. */

import { isDeepStrictEqual } from 'node:util';
import type { NodeRecord } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { Clock, Timer } from '../core/ports.js';
import type { Logger } from './log.js';
import type { ClusterState, LeasedKey } from './state/cluster-state.js';
import type { DiskReport } from './state/node-records.js';

/** The time after which a node that no longer renews its lease counts as away, seconds. */
const LIVENESS_TTL_SECONDS = 10;
/** How often the disks are compared with what etcd says, ms. */
const REPORT_INTERVAL_MS = 10_000;
/** A change of capacity smaller than this is not worth a write to etcd, bytes. */
const CAPACITY_STEP_BYTES = 16 << 20;

export type Capacity = NodeRecord['capacity'];

export interface RegistrationOptions {
  readonly state: ClusterState;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly node: Omit<NodeRecord, keyof DiskReport | 'createdAt' | 'updatedAt' | 'revision'>;
  /** Identifies this run of the agent. */
  readonly run: string;
  readonly capacity: () => Capacity;
  readonly copies: () => Omit<DiskReport, 'capacity'>;
  /** Told of the capacity that this node shows, now and after every change worth a write. */
  readonly reported: (capacity: Capacity) => void;
  /** Asked before this node is added to the cluster, not when it comes back. */
  readonly admit: () => Promise<void>;
}

export class NodeRegistration {
  readonly #options: RegistrationOptions;
  readonly #liveness: LeasedKey;
  #reported: DiskReport;
  #timer: Timer | undefined;
  #stopped = false;

  private constructor(options: RegistrationOptions, liveness: LeasedKey, reported: DiskReport) {
    this.#options = options;
    this.#liveness = liveness;
    this.#reported = reported;
  }

  /** Errors: those of ClusterState.registerNode and registerLiveness, and of `admit`. */
  static async start(options: RegistrationOptions): Promise<NodeRegistration> {
    const { state, clock, node, run } = options;
    const now = clock.timestamp();
    const disks = reportOf(options);
    const { capacity } = disks;
    await state.registerNode({ ...node, capacity, createdAt: now, updatedAt: now }, options.admit);
    await state.nodeRecords.report(node.id, disks);
    const liveness = await state.registerLiveness({ node: node.id, run, startedAt: now }, LIVENESS_TTL_SECONDS);
    options.reported(capacity);
    const registration = new NodeRegistration(options, liveness, disks);
    registration.#schedule();
    return registration;
  }

  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    await this.#liveness.stop();
  }

  #schedule(): void {
    if (this.#stopped) return;
    this.#timer = this.#options.clock.after(REPORT_INTERVAL_MS, () => {
      this.#report().finally(() => this.#schedule());
    });
  }

  async #report(): Promise<void> {
    const { state, node, logger } = this.#options;
    const disks = reportOf(this.#options);
    const { capacity } = this.#reported;
    const changed = (key: keyof Capacity) => Math.abs(disks.capacity[key] - capacity[key]) >= CAPACITY_STEP_BYTES;
    const room = changed('totalBytes') || changed('freeBytes') || changed('availableBytes');
    if (!room && isDeepStrictEqual({ ...disks, capacity }, this.#reported)) return;
    try {
      await state.nodeRecords.report(node.id, disks);
      this.#reported = disks;
      this.#options.reported(disks.capacity);
    } catch (error) {
      // The next interval tries again; etcd's absence has its own message.
      const level = error instanceof DomainError && error.retryable ? 'debug' : 'warn';
      logger[level]({ err: error }, 'the state of the disks is not reported');
    }
  }
}

function reportOf({ capacity, copies }: RegistrationOptions): DiskReport {
  return { capacity: capacity(), ...copies() };
}
