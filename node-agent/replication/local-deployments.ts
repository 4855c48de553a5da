/** The open deployments of a node: one after the other is done what is done to one, and what failed is opened anew. */

import {
  type Clock,
  type DeploymentState,
  type DeploymentStore,
  InvariantError,
  type Timer,
} from '../../core/ports.js';
import type { AttentionReason } from '../../core/replication/context.js';
import type { DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import type { Logger } from '../log.js';
import { type NodeStores, NoSuchDeploymentError as NotStoredError, StoreCorruptError } from '../store/index.js';
import { DamagedDeploymentError, NoSuchDeploymentError } from './errors.js';
import type { HostedDeployment } from './hosted-deployment.js';
import { WireError } from './wire.js';

/** A store that failed is opened again after this long, doubled up to the largest. */
const REOPEN_MIN_MS = 1000;
const REOPEN_MAX_MS = 30_000;

export interface LocalDeploymentsOptions {
  readonly self: NodeId;
  readonly stores: NodeStores;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly attention: (volume: VolumeId, reason: AttentionReason) => void;
  /** Whether etcd has a record of the volume. Without one a copy is opened when it is asked for, and not again. */
  readonly isKnown: (volume: VolumeId) => boolean;
  /** Runs the protocol on an open store; `attention` is to be told of what happens. */
  readonly host: (
    volume: VolumeId,
    deployment: DeploymentId,
    store: DeploymentStore,
    attention: (reason: AttentionReason) => void,
  ) => HostedDeployment;
  /** It is there now, and has heard nothing yet. */
  readonly opened: (hosted: HostedDeployment) => void;
  readonly removed: () => void;
}

export class LocalDeployments {
  readonly #options: LocalDeploymentsOptions;
  readonly #open = new Map<DeploymentId, HostedDeployment>();
  /** What is done to one deployment is done one after the other. */
  readonly #queues = new Map<DeploymentId, Promise<unknown>>();
  readonly #reopening = new Map<DeploymentId, Timer>();
  /** Could not be opened the last time for what is on the disk. */
  readonly #damaged = new Set<DeploymentId>();
  #stopped = false;

  constructor(options: LocalDeploymentsOptions) {
    this.#options = options;
  }

  find(deployment: DeploymentId): HostedDeployment | undefined {
    return this.#open.get(deployment);
  }

  /** Errors: NoSuchDeploymentError if it is not open here, DamagedDeploymentError if it can't be. */
  get(deployment: DeploymentId): HostedDeployment {
    const hosted = this.#open.get(deployment);
    if (hosted !== undefined) return hosted;
    if (this.#damaged.has(deployment)) throw new DamagedDeploymentError(this.#options.self, deployment);
    throw new NoSuchDeploymentError(this.#options.self, deployment);
  }

  all(): HostedDeployment[] {
    return [...this.#open.values()];
  }

  of(volume: VolumeId): HostedDeployment[] {
    return this.all().filter((hosted) => hosted.volume === volume);
  }

  /** On the disks, and not open: damaged, or about to be opened. */
  closedOf(volume: VolumeId): DeploymentId[] {
    return this.#options.stores.of(volume).filter((deployment) => !this.#open.has(deployment));
  }

  /** Copies on the disks that do not even say of which volume they are. */
  get unreadable(): number {
    return this.#options.stores.unreadable;
  }

  get unopened(): number {
    return this.#reopening.size;
  }

  /** All that are on the disks, open or not. */
  onDisk(): DeploymentState[] {
    return this.#options.stores.deployments();
  }

  /** Opens the volume's deployments that are on this node's disks. What cannot be opened is tried again later. */
  async openAll(volume: VolumeId): Promise<void> {
    await Promise.all(
      this.#options.stores.of(volume).map((deployment) =>
        this.#exclusive(deployment, async () => {
          if (this.#open.has(deployment) || this.#reopening.has(deployment) || this.#stopped) return;
          await this.#tryOpen(volume, deployment, REOPEN_MIN_MS);
        }),
      ),
    );
  }

  /** The open deployment; else `make` makes its store. Errors: those of `make`. */
  create(volume: VolumeId, deployment: DeploymentId, make: () => Promise<DeploymentStore>): Promise<HostedDeployment> {
    return this.#exclusive(
      deployment,
      async () => this.#open.get(deployment) ?? this.#host(volume, deployment, await make()),
    );
  }

  /** Stops and erases it, when what is being done to it has ended; of which volume it was. Idempotent. */
  remove(deployment: DeploymentId): Promise<VolumeId | undefined> {
    return this.#exclusive(deployment, async () => {
      const held = this.onDisk().find((state) => state.deployment === deployment);
      this.#reopening.get(deployment)?.cancel();
      this.#reopening.delete(deployment);
      this.#damaged.delete(deployment);
      const hosted = this.#open.get(deployment);
      this.#open.delete(deployment);
      await hosted?.stop('the deployment is removed');
      await this.#options.stores.remove(deployment);
      this.#options.removed();
      return held?.volume;
    });
  }

  /** Closes all. */
  async stop(): Promise<void> {
    this.#stopped = true;
    for (const timer of this.#reopening.values()) timer.cancel();
    this.#reopening.clear();
    await Promise.all(
      [...this.#open.keys()].map((id) => this.#exclusive(id, () => this.#close(id, 'this node stops'))),
    );
  }

  /** A deployment whose code throws is closed, and the others go on. Errors: WireError, which is its sender's. */
  guard(hosted: HostedDeployment, run: () => void): void {
    try {
      run();
    } catch (error) {
      if (error instanceof WireError) throw error;
      const { volume, deployment } = hosted;
      const violated = error instanceof InvariantError;
      this.#options.logger.error({ volume, deployment, err: error, violated }, 'deployment failed');
      this.#options.attention(volume, 'store-failed');
      this.#failed(hosted);
    }
  }

  each(run: (hosted: HostedDeployment) => void): void {
    for (const hosted of this.all()) this.guard(hosted, () => run(hosted));
  }

  async #tryOpen(volume: VolumeId, deployment: DeploymentId, delayMs: number): Promise<void> {
    try {
      this.#host(volume, deployment, await this.#options.stores.open(deployment));
    } catch (error) {
      // Erased since it was listed.
      if (error instanceof NotStoredError) return;
      // What can't be read at present may be intact: a copy that is taken for damaged is erased.
      if (error instanceof StoreCorruptError && !error.unread) this.#damaged.add(deployment);
      else this.#damaged.delete(deployment);
      this.#options.logger.error({ volume, deployment, err: error, delayMs }, 'deployment cannot be opened');
      this.#options.attention(volume, 'store-failed');
      this.#reopenLater(volume, deployment, delayMs);
    }
  }

  #reopenLater(volume: VolumeId, deployment: DeploymentId, delayMs: number): void {
    if (this.#stopped || this.#reopening.has(deployment) || !this.#options.isKnown(volume)) return;
    const timer = this.#options.clock.after(delayMs, () => {
      void this.#exclusive(deployment, async () => {
        if (!this.#reopening.delete(deployment)) return;
        await this.#tryOpen(volume, deployment, Math.min(delayMs * 2, REOPEN_MAX_MS));
      });
    });
    this.#reopening.set(deployment, timer);
  }

  #host(volume: VolumeId, deployment: DeploymentId, store: DeploymentStore): HostedDeployment {
    const { host, attention, opened } = this.#options;
    const hosted = host(volume, deployment, store, (reason) => {
      attention(volume, reason);
      if (reason === 'store-failed') this.#failed(hosted);
    });
    this.#open.set(deployment, hosted);
    this.#damaged.delete(deployment);
    opened(hosted);
    return hosted;
  }

  /** A store that failed is never used again: it is closed, and opened anew from the disk. */
  #failed(hosted: HostedDeployment): void {
    const { volume, deployment } = hosted;
    void this.#exclusive(deployment, async () => {
      if (this.#open.get(deployment) !== hosted) return;
      await this.#close(deployment, 'the store failed');
      this.#reopenLater(volume, deployment, REOPEN_MIN_MS);
    });
  }

  async #close(deployment: DeploymentId, reason: string): Promise<void> {
    const hosted = this.#open.get(deployment);
    if (hosted === undefined) return;
    this.#open.delete(deployment);
    try {
      await hosted.stop(reason);
      await hosted.store.close();
    } catch (error) {
      this.#options.logger.error({ volume: hosted.volume, deployment, err: error }, 'deployment did not close cleanly');
    }
  }

  #exclusive<T>(deployment: DeploymentId, run: () => Promise<T>): Promise<T> {
    const before = this.#queues.get(deployment) ?? Promise.resolve();
    const result = before.then(run, run);
    const settled = result.then(
      () => {},
      () => {},
    );
    this.#queues.set(deployment, settled);
    void settled.then(() => {
      if (this.#queues.get(deployment) === settled) this.#queues.delete(deployment);
    });
    return result;
  }
}
