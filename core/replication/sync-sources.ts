/** The syncs of which a primary is the source: one for each target. */

import type { MemberMessage, SyncProgress } from '../messages.js';
import type { DeploymentId } from '../types.js';
import { ReplicationError } from './context.js';
import type { Primary } from './primary.js';
import { SyncLag } from './sync-lag.js';
import { type SyncAnswer, SyncSource } from './sync-source.js';

export class SyncSources {
  readonly #primary: Primary;
  readonly #syncs = new Map<DeploymentId, SyncSource>();
  readonly #lags = new Map<DeploymentId, SyncLag>();
  #number = 0;
  /** Targets whose last sync ended as they had no space. */
  readonly #short = new Set<DeploymentId>();

  constructor(primary: Primary) {
    this.#primary = primary;
  }

  start(target: DeploymentId, report: (progress: SyncProgress) => void): SyncSource {
    const { context, record, streams } = this.#primary;
    if (!this.#primary.ready)
      throw new ReplicationError('not-primary', 'this deployment does not serve the volume now');
    if (record.inSync.includes(target)) throw new ReplicationError('invalid-state', `${target} is in sync already`);
    if (this.#syncs.has(target) || streams.has(target)) {
      throw new ReplicationError('invalid-state', `a sync of ${target} is under way`);
    }
    const node = context.nodeOf(target);
    if (node === undefined || !context.links.isUp(node)) {
      throw new ReplicationError('target-lost', `no connection to the node of ${target}`);
    }
    const sync = new SyncSource(this.#primary, target, ++this.#number, this.#short.has(target), report);
    const lag = new SyncLag(this.#primary, sync.stream);
    this.#syncs.set(target, sync);
    this.#lags.set(target, lag);
    streams.set(target, sync.stream);
    const end = (): void => {
      this.#syncs.delete(target);
      this.#lags.delete(target);
      // A target that has become a member stays; so does one whose swap is under way [7].
      if (sync.stream.target && streams.get(target) === sync.stream) streams.delete(target);
      // Writers that waited for it go on at once, which may meet a store that has failed meanwhile.
      lag.end();
    };
    const ended = sync.done.then(
      () => {
        end();
        this.#short.delete(target);
        context.counters.syncsCompleted++;
        this.#primary.healing.memberJoined();
        context.events.attention('in-sync');
      },
      (error: unknown) => {
        end();
        if (sync.stream.failure === 'no-space') this.#short.add(target);
        if (!(error instanceof ReplicationError)) throw error;
      },
    );
    context.background(ended);
    return sync;
  }

  progress(): SyncProgress | undefined {
    for (const sync of this.#syncs.values()) return sync.progress;
    return undefined;
  }

  abort(target: DeploymentId, error: ReplicationError): void {
    this.#syncs.get(target)?.abort(error);
  }

  abortAll(error: ReplicationError): void {
    for (const sync of [...this.#syncs.values()]) sync.abort(error);
  }

  onMessage(from: DeploymentId, message: Extract<MemberMessage, SyncAnswer>): void {
    const sync = this.#syncs.get(from);
    // Every primary counts its syncs from 1: an answer to a former one has an older epoch.
    if (sync === undefined || sync.number !== message.sync || message.epoch < sync.epoch) return;
    if (sync.stream.incarnation !== undefined && sync.stream.incarnation !== message.incarnation) return;
    sync.onAnswer(message);
  }

  /** Where the targets' streams have failed, so have their syncs. */
  advance(): void {
    for (const lag of [...this.#lags.values()]) lag.look();
    for (const sync of [...this.#syncs.values()]) {
      if (sync.stream.target && sync.stream.state === 'failed') {
        const lost = sync.stream.failure === 'link-down' || sync.stream.failure === 'no-answer';
        if (sync.stream.failure === 'busy') {
          sync.abort(new ReplicationError('target-busy', "the target's node takes in as many syncs as it can"));
          continue;
        }
        const code = lost || sync.stream.failure === 'unreachable' ? 'target-lost' : 'target-refused';
        sync.abort(new ReplicationError(code, `the target's stream failed: ${sync.stream.failure}`));
      }
    }
  }

  tick(now: number): void {
    for (const sync of [...this.#syncs.values()]) sync.tick(now);
  }
}
