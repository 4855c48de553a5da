/**
 * What no node can assert by itself: the specification's InSyncHolds (docs/model), and that what was flushed is on the
 * disk of every copy in sync.
 */

import type { Membership } from '../../core/domain.js';
import type { ReplicatedDeployment } from '../../core/replication/replicated-deployment.js';

/** The open copies of a volume. */
export interface ObservedCopy {
  readonly name: string;
  readonly replicated: ReplicatedDeployment;
}

/**
 * Whatever a primary has acknowledged, or may show a reader [I5], is in the log of every copy that may be chosen in its
 * place without a word of loss: all that are in sync and clean. What is wrong; undefined if nothing is.
 */
export function lackOfInSync(record: Membership, copies: readonly ObservedCopy[]): string | undefined {
  for (const { name, replicated: primary } of copies) {
    const { committed, record: own } = primary;
    // An etcd that has come back older may name copies that have left since; and a loss has been told of.
    const counts = own !== undefined && own.epoch <= record.epoch && own.lossVerifier === record.lossVerifier;
    if (committed === undefined || !counts) continue;
    for (const { name: other, replicated: copy } of copies) {
      const { last } = copy.store;
      if (isReliedUpon(record, copy) && last.sequence < committed) {
        return `${other} is in sync and ends at ${last.sequence}, and ${name} counts ${committed} as committed`;
      }
    }
  }
  return undefined;
}

/** In sync and clean: it may be chosen without a word of loss. */
function isReliedUpon(record: Membership, { store, halted, self }: ReplicatedDeployment): boolean {
  return record.inSync.includes(self.deployment) && !halted && !store.state.unclean;
}

/** What a flush stands for, if it succeeds: all that was committed when it was asked for. */
export interface FlushPromise {
  readonly sequence: number;
  readonly epoch: number;
  readonly lossVerifier: number;
}

/** Of a flush that is asked for now; undefined if no primary can tell. */
export function promiseOfFlush(
  record: Membership | undefined,
  copies: readonly ObservedCopy[],
): FlushPromise | undefined {
  if (record === undefined) return undefined;
  const { epoch, lossVerifier } = record;
  for (const { replicated } of copies) {
    const { committed, record: own } = replicated;
    if (committed !== undefined && own?.epoch === epoch) return { sequence: committed, epoch, lossVerifier };
  }
  return undefined;
}

/** What is wrong when that flush has succeeded; undefined if nothing is. */
export function lackOfDurable(
  promise: FlushPromise | undefined,
  record: Membership | undefined,
  copies: readonly ObservedCopy[],
): string | undefined {
  // An etcd that has come back older names others; and a loss is told of otherwise.
  if (promise === undefined || record === undefined || record.epoch < promise.epoch) return undefined;
  if (record.lossVerifier !== promise.lossVerifier) return undefined;
  for (const { name, replicated } of copies) {
    const { durable } = replicated.store;
    if (isReliedUpon(record, replicated) && durable < promise.sequence) {
      return `${name} is in sync and durable up to ${durable}, and ${promise.sequence} was flushed`;
    }
  }
  return undefined;
}
