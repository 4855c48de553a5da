/** The invariant of the specification that no node can assert by itself: InSyncHolds (docs/model). */

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
      const { store, halted, self } = copy;
      const relied = record.inSync.includes(self.deployment) && !halted && !store.state.unclean;
      if (relied && store.last.sequence < committed) {
        return `${other} is in sync and ends at ${store.last.sequence}, and ${name} counts ${committed} as committed`;
      }
    }
  }
  return undefined;
}
