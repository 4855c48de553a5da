import type { Clock, Timer } from '../ports.js';
import type { NodeId } from '../types.js';
import type { LocalHealth } from './health.js';
import { Suspicion } from './suspicion.js';
import type { GossipSettings, Member, MemberInfo, MemberState, MemberStatus, Update } from './types.js';

interface Entry {
  member: Member;
  suspicion: Suspicion | undefined;
  forget: Timer | undefined;
}

export interface MembersOptions {
  readonly self: MemberInfo;
  /** Higher than in earlier lives of this node, if possible; otherwise it is corrected by refutation. */
  readonly incarnation: number;
  readonly settings: GossipSettings;
  readonly clock: Clock;
  readonly health: LocalHealth;
  readonly spread: (update: Update) => void;
  readonly changed: (member: Member, before: MemberStatus | undefined) => void;
}

/** What this node believes of the members, and the rules by which one belief gives way to another (SWIM, 4.2). */
export class Members {
  readonly #options: MembersOptions;
  readonly #entries = new Map<NodeId, Entry>();
  #self: Member;

  constructor(options: MembersOptions) {
    this.#options = options;
    this.#self = { ...options.self, incarnation: options.incarnation, status: 'alive' };
  }

  get self(): Member {
    return this.#self;
  }

  /** With this node. */
  list(): Member[] {
    return [this.#self, ...[...this.#entries.values()].map(({ member }) => member)];
  }

  get(node: NodeId): Member | undefined {
    return this.#entries.get(node)?.member;
  }

  /** Others that are alive or suspected. */
  reachable(): Member[] {
    return this.#withStatus('alive', 'suspect');
  }

  dead(): Member[] {
    return this.#withStatus('dead');
  }

  /** This node and all that may be alive. */
  get size(): number {
    return 1 + this.reachable().length;
  }

  announce(): Update {
    return this.#say(this.#self);
  }

  /** What this node would tell about a member. */
  #say(member: Member): Update {
    const { incarnation, status, ...info } = member;
    return { node: member.node, status, incarnation, by: this.#self.node, info };
  }

  /** For a member that is thought to be suspect or dead: what it has to know to contradict. */
  accusation(node: NodeId): Update | undefined {
    const member = this.get(node);
    if (member === undefined || member.status === 'alive' || member.status === 'left') return undefined;
    return { node, status: member.status, incarnation: member.incarnation, by: this.#self.node };
  }

  everything(): Update[] {
    return this.list().map((member) => this.#say(member));
  }

  /** This node tells something new of itself: under a higher incarnation, as only that replaces what others believe. */
  tell(state: MemberState): void {
    if (this.#self.status === 'left') return;
    this.#self = { ...this.#self, state, incarnation: this.#self.incarnation + 1 };
    this.#options.spread(this.announce());
  }

  /** This node goes, and says so. */
  leave(): Update {
    this.#self = { ...this.#self, status: 'left', incarnation: this.#self.incarnation + 1 };
    return this.announce();
  }

  stop(): void {
    for (const entry of this.#entries.values()) {
      entry.suspicion?.cancel();
      entry.forget?.cancel();
    }
  }

  /** This node's own probe failed. */
  suspect(node: NodeId): void {
    const member = this.get(node);
    if (member === undefined) return;
    this.apply({ node, status: 'suspect', incarnation: member.incarnation, by: this.#self.node });
  }

  apply(update: Update): void {
    if (update.node === this.#self.node) {
      this.#refute(update);
      return;
    }
    const entry = this.#entries.get(update.node);
    switch (update.status) {
      case 'alive':
        if (entry === undefined) this.#add(update);
        else if (update.incarnation > entry.member.incarnation) this.#change(entry, update);
        return;
      case 'suspect':
        if (entry === undefined) {
          if (this.#add({ ...update, status: 'alive' })) this.apply(update);
        } else this.#suspected(entry, update);
        return;
      case 'dead':
      case 'left':
        // Of somebody unknown, nobody needs to hear the death.
        if (entry === undefined || update.incarnation < entry.member.incarnation) return;
        if (entry.member.status === 'dead' || entry.member.status === 'left') {
          if (update.incarnation === entry.member.incarnation) return;
        }
        this.#change(entry, update);
    }
  }

  #suspected(entry: Entry, update: Update): void {
    const { incarnation, status } = entry.member;
    if (update.incarnation < incarnation || status === 'dead' || status === 'left') return;
    if (status === 'suspect' && update.incarnation === incarnation) {
      if (entry.suspicion?.confirm(update.by) === true) this.#options.spread(update);
      return;
    }
    this.#change(entry, update);
    const { settings, health, clock } = this.#options;
    entry.suspicion = new Suspicion({
      by: update.by,
      size: this.size,
      settings,
      health,
      now: () => clock.now(),
      expired: () =>
        this.apply({ node: update.node, status: 'dead', incarnation: entry.member.incarnation, by: this.#self.node }),
    });
  }

  /** Somebody says something of this node that is not so. */
  #refute(update: Update): void {
    if (this.#self.status === 'left') return;
    const mistaken = update.status !== 'alive';
    if (update.incarnation < this.#self.incarnation || (!mistaken && update.incarnation === this.#self.incarnation)) {
      return;
    }
    this.#self = { ...this.#self, incarnation: update.incarnation + 1 };
    // Being suspected is a sign that this node is slow.
    if (mistaken) this.#options.health.change(1);
    this.#options.spread(this.announce());
  }

  #add(update: Update): boolean {
    const { settings } = this.#options;
    if (update.info === undefined || update.info.node !== update.node) return false;
    if (this.#entries.size >= settings.maxMembers && !this.#forgetOne()) return false;
    const entry: Entry = {
      member: { ...update.info, incarnation: update.incarnation, status: 'alive' },
      suspicion: undefined,
      forget: undefined,
    };
    this.#entries.set(update.node, entry);
    this.#options.spread(update);
    this.#options.changed(entry.member, undefined);
    return true;
  }

  #change(entry: Entry, update: Update): void {
    const before = entry.member.status;
    const info = update.info?.node === update.node ? update.info : undefined;
    entry.member = { ...entry.member, ...info, incarnation: update.incarnation, status: update.status };
    entry.suspicion?.cancel();
    entry.suspicion = undefined;
    entry.forget?.cancel();
    entry.forget = undefined;
    if (update.status === 'dead' || update.status === 'left') {
      const { clock, settings } = this.#options;
      entry.forget = clock.after(settings.forgetMs, () => this.#entries.delete(update.node));
    }
    // Passed on as it was heard, so that independent suspicions are counted by who had them.
    this.#options.spread(update);
    if (before !== update.status) this.#options.changed(entry.member, before);
  }

  /** Makes room by forgetting one of the dead. */
  #forgetOne(): boolean {
    for (const [node, entry] of this.#entries) {
      if (entry.member.status !== 'dead' && entry.member.status !== 'left') continue;
      entry.forget?.cancel();
      this.#entries.delete(node);
      return true;
    }
    return false;
  }

  #withStatus(...wanted: MemberStatus[]): Member[] {
    return [...this.#entries.values()].map(({ member }) => member).filter(({ status }) => wanted.includes(status));
  }
}
