/**
 * From transaction 1, which named this deployment, to transaction 2, which activates it
 * (design/replication.md, "The primary fails", steps 4 and 5).
 *
 * The members promise the epoch, which seals them against the old primary, and say what they have; each is
 * sent what it lacks. Who then has exactly this log stays; who is away, unclean or longer leaves [1], [17].
 * Nothing is opened before the leases have run out that this deployment may have granted the old primary,
 * unless everybody who could serve under them has promised this epoch.
 */

import type { Membership } from '../domain.js';
import { activate } from '../membership.js';
import { invariant } from '../ports.js';
import type { DeploymentId } from '../types.js';
import type { Primary } from './primary.js';

export class Opening {
  readonly #primary: Primary;
  readonly #oldLeasesEnd: number;
  readonly #deadline: number;
  #flushed: 'no' | 'under-way' | 'yes' = 'no';
  /** Who stays: everybody in sync from the activation on. */
  #confirmed: ReadonlySet<DeploymentId> = new Set();

  constructor(primary: Primary, oldLeasesEnd: number) {
    this.#primary = primary;
    this.#oldLeasesEnd = oldLeasesEnd;
    this.#deadline = primary.context.clock.now() + primary.context.settings.openTimeoutMs;
  }

  advance(): void {
    const primary = this.#primary;
    const { context, members, record } = primary;
    if (!primary.established || primary.changing) return;
    const { store, self, clock } = context;
    if (this.#flushed !== 'yes') {
      this.#flush();
      return;
    }
    // A member of another etcd cluster: this etcd may be an old or a foreign one, and knows nothing for sure.
    if (members.some((member) => member.failure === 'wrong-cluster')) return;
    const end = store.last.sequence;
    const now = clock.now();
    // An unclean primary was chosen because nobody is clean: the others have to be synced from it.
    const confirmed = store.state.unclean
      ? []
      : members.filter((member) => member.current && member.acked === end && member.failure === undefined);
    // Whose connection has been down for the time of a blip is not waited for any longer.
    const undecided = members.filter((member) => member.failure === undefined && !member.current);
    const catchingUp = store.state.unclean
      ? []
      : members.filter((member) => member.current && member.acked < end && member.failure === undefined);
    if ((undecided.length > 0 && now < this.#deadline) || catchingUp.length > 0) return;
    const sealed = members.every((member) => member.sealed === record.epoch);
    if (!sealed && now < this.#oldLeasesEnd) return;

    const reasons = new Map<DeploymentId, string>();
    for (const member of members) reasons.set(member.deployment, member.failure ?? 'no-answer');
    this.#confirmed = new Set([self.deployment, ...confirmed.map((member) => member.deployment)]);
    const next = activate(record, {
      startsAfter: end,
      confirmed: this.#confirmed,
      lossy: store.state.unclean,
      reason: (deployment) => (store.state.unclean ? 'unclean' : (reasons.get(deployment) ?? 'no-answer')),
      timestamp: clock.timestamp(),
    });
    context.events.log('info', 'activating', { epoch: next.epoch, startsAfter: end, inSync: next.inSync });
    context.background(primary.swap(next));
  }

  /** The activation has taken effect: what [1] demands of it. */
  check({ inSync, history }: Membership): void {
    const end = this.#primary.context.store.last.sequence;
    invariant(
      inSync.every((member) => this.#confirmed.has(member)),
      'R1',
      () => `activated with ${inSync}, of whom only ${[...this.#confirmed]} have confirmed`,
    );
    invariant(history.at(-1)?.startsAfter === end, 'R1', () => `the log ends at ${end}, not at its declared end`);
  }

  /** What is about to be declared the end of the old epochs must not be lost by the next power failure alone. */
  #flush(): void {
    if (this.#flushed !== 'no') return;
    this.#flushed = 'under-way';
    const { context } = this.#primary;
    const flushed = context.store.flush().then(() => {
      this.#flushed = 'yes';
      this.#primary.progress();
    });
    context.background(flushed);
  }
}
