import type { Clock, Random, Timer } from '../ports.js';
import type { NodeId } from '../types.js';
import { Broadcasts } from './broadcasts.js';
import { LocalHealth } from './health.js';
import { Members } from './members.js';
import type { GossipMessage, GossipSettings, Member, MemberInfo, MemberState, MemberStatus, Update } from './types.js';

/** Probes that this node makes for others at the same time. */
const MAX_RELAYS = 256;

export interface SwimOptions {
  readonly self: MemberInfo;
  /** Rises from one life of the node to the next, e.g. the time of its start. */
  readonly incarnation: number;
  readonly settings: GossipSettings;
  readonly clock: Clock;
  readonly random: Random;
  /** Sends a datagram; it may be lost, doubled or late. */
  readonly send: (address: string, message: GossipMessage) => void;
  /** Bytes that an update takes in a message. */
  readonly measure: (update: Update) => number;
  /** `before` is undefined for a member that was not known. */
  readonly changed: (member: Member, before: MemberStatus | undefined) => void;
}

interface Probe {
  readonly number: number;
  readonly target: NodeId;
  missingNacks: number;
  asked: boolean;
  timer: Timer;
}

/** One node's part in the gossip of a cluster. */
export class Swim {
  readonly health: LocalHealth;
  readonly #options: SwimOptions;
  readonly #members: Members;
  readonly #broadcasts: Broadcasts;
  readonly #timers = new Map<string, Timer>();
  readonly #relays = new Map<number, { address: string; number: number; timer: Timer }>();
  #seeds: readonly string[] = [];
  /** Whom to probe in this round, in random order. */
  #round: NodeId[] = [];
  #probe: Probe | undefined;
  #number = 0;
  #stopped = false;

  constructor(options: SwimOptions) {
    const { self, incarnation, settings, clock } = options;
    this.#options = options;
    this.health = new LocalHealth(clock, { max: settings.maxHealthScore, lagMs: settings.lagMs });
    this.#broadcasts = new Broadcasts(options.measure);
    this.#members = new Members({
      self,
      incarnation,
      settings,
      clock,
      health: this.health,
      spread: (update) => this.#broadcasts.add(update),
      changed: options.changed,
    });
  }

  /** Joins through any of the seeds (host:port), now or whenever one answers, and begins to probe. */
  start(seeds: readonly string[]): void {
    const { settings, random } = this.#options;
    this.#seeds = seeds.filter((address) => address !== this.#members.self.addresses.gossip);
    for (const seed of this.#seeds) this.#tell(seed, true);
    this.#every(
      'probe',
      () => this.health.scale(settings.probeMs),
      () => this.#nextProbe(),
    );
    this.#every(
      'rumours',
      () => settings.rumourMs,
      () => this.#spreadRumours(),
    );
    this.#every(
      'exchange',
      () => settings.exchangeMs * (0.5 + random.next()),
      () => this.#exchange(),
    );
    this.#every(
      'reconnect',
      () => settings.reconnectMs * (0.5 + random.next()),
      () => this.#reconnect(),
    );
  }

  /** With this node itself. */
  members(): Member[] {
    return this.#members.list();
  }

  /** What this node tells of itself from now on; it travels with everything else that is said. */
  tell(state: MemberState): void {
    if (!this.#stopped) this.#members.tell(state);
  }

  /** Tells the others that this node goes, and stops. */
  leave(): void {
    if (this.#stopped) return;
    const update = this.#members.leave();
    for (const member of this.#members.reachable()) {
      this.#send(member.addresses.gossip, { type: 'rumours', from: this.#self, updates: [update] });
    }
    this.stop();
  }

  stop(): void {
    this.#stopped = true;
    for (const timer of this.#timers.values()) timer.cancel();
    for (const { timer } of this.#relays.values()) timer.cancel();
    this.#probe?.timer.cancel();
    this.#members.stop();
  }

  /** `address` is where the datagram came from. The message has been validated. */
  receive(message: GossipMessage, address: string): void {
    if (this.#stopped || message.from === this.#self) return;
    for (const update of message.updates) this.#members.apply(update);
    switch (message.type) {
      case 'ping':
        // An address may have a new tenant: a probe is for one node only.
        if (message.to === this.#self) this.#answer(address, 'ack', message.number, message.from);
        return;
      case 'ack':
        this.#acknowledged(message.number);
        return;
      case 'nack':
        if (this.#probe?.number === message.number) this.#probe.missingNacks -= 1;
        return;
      case 'ping-request':
        this.#relay(message.target, message.address, message.number, address, message.from);
        return;
      case 'state':
        if (message.reply) this.#tell(address, false);
        return;
      case 'rumours':
    }
  }

  get #self(): NodeId {
    return this.#members.self.node;
  }

  #send(address: string, message: GossipMessage): void {
    this.#options.send(address, message);
  }

  /** Rumours that ride on a message to `to`, its own accusation first so that it can speak up. */
  #updatesFor(to: NodeId): Update[] {
    return this.#takeUpdates(this.#members.accusation(to));
  }

  #takeUpdates(first?: Update): Update[] {
    const { updateBytes, retransmitFactor } = this.#options.settings;
    const retransmits = retransmitFactor * Math.ceil(Math.log10(this.#members.size + 1));
    return this.#broadcasts.take(updateBytes, retransmits, first);
  }

  #answer(address: string, type: 'ack' | 'nack', number: number, to: NodeId): void {
    this.#send(address, { type, from: this.#self, number, updates: this.#updatesFor(to) });
  }

  /* ---- probing ---- */

  #nextProbe(): void {
    if (this.#probe !== undefined) return;
    const target = this.#nextTarget();
    if (target === undefined) return;
    const { settings } = this.#options;
    this.#number += 1;
    const number = this.#number;
    this.#ping(target, number);
    const timer = this.health.judge(this.health.scale(settings.probeTimeoutMs), settings.probeTimeoutMs, () =>
      this.#askOthers(target),
    );
    this.#probe = { number, target: target.node, missingNacks: 0, asked: false, timer };
  }

  #ping(target: Member, number: number): void {
    const updates = this.#updatesFor(target.node);
    this.#send(target.addresses.gossip, { type: 'ping', from: this.#self, number, to: target.node, updates });
  }

  /** Every member once in a round, each round in another order (SWIM, 4.3). */
  #nextTarget(): Member | undefined {
    for (let fresh = false; ; fresh = true) {
      while (this.#round.length > 0) {
        const member = this.#members.get(this.#round.pop() as NodeId);
        if (member?.status === 'alive' || member?.status === 'suspect') return member;
      }
      if (fresh) return undefined;
      this.#round = this.#shuffled(this.#members.reachable()).map(({ node }) => node);
    }
  }

  #askOthers(target: Member): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    const { settings } = this.#options;
    const helpers = this.#shuffled(this.#members.reachable().filter(({ node }) => node !== target.node));
    for (const helper of helpers.slice(0, settings.indirectProbes)) {
      probe.missingNacks += 1;
      this.#send(helper.addresses.gossip, {
        type: 'ping-request',
        from: this.#self,
        number: probe.number,
        target: target.node,
        address: target.addresses.gossip,
        updates: this.#updatesFor(helper.node),
      });
    }
    probe.asked = probe.missingNacks > 0;
    // The rest of the period; a lost first datagram gets a second chance even without helpers.
    this.#ping(target, probe.number);
    const restMs = this.health.scale(settings.probeMs - settings.probeTimeoutMs);
    probe.timer = this.health.judge(restMs, settings.probeTimeoutMs, () => this.#failed());
  }

  #failed(): void {
    const probe = this.#probe;
    if (probe === undefined) return;
    this.#probe = undefined;
    // Helpers that said nothing at all: perhaps it is this node that isn't heard.
    if (probe.asked) this.health.change(Math.max(0, probe.missingNacks));
    this.#members.suspect(probe.target);
  }

  #acknowledged(number: number): void {
    const relay = this.#relays.get(number);
    if (relay !== undefined) {
      this.#relays.delete(number);
      relay.timer.cancel();
      this.#send(relay.address, { type: 'ack', from: this.#self, number: relay.number, updates: this.#takeUpdates() });
      return;
    }
    if (this.#probe?.number !== number) return;
    this.#probe.timer.cancel();
    this.#probe = undefined;
    this.health.change(-1);
  }

  #relay(target: NodeId, at: string, number: number, asker: string, askerNode: NodeId): void {
    if (this.#relays.size >= MAX_RELAYS) return;
    const { settings, clock } = this.#options;
    this.#number += 1;
    const own = this.#number;
    this.#send(at, { type: 'ping', from: this.#self, number: own, to: target, updates: this.#updatesFor(target) });
    // A little before the asker gives up, so that the nack comes in time (Lifeguard).
    const timer = clock.after(settings.probeTimeoutMs * 0.8, () => {
      this.#relays.delete(own);
      this.#answer(asker, 'nack', number, askerNode);
    });
    this.#relays.set(own, { address: asker, number, timer });
  }

  /* ---- spreading ---- */

  #spreadRumours(): void {
    if (this.#broadcasts.empty) return;
    const { rumourFanout } = this.#options.settings;
    for (const member of this.#shuffled(this.#members.reachable()).slice(0, rumourFanout)) {
      const updates = this.#updatesFor(member.node);
      if (updates.length === 0) return;
      this.#send(member.addresses.gossip, { type: 'rumours', from: this.#self, updates });
    }
  }

  /** All that this node knows, in as many messages as it takes; the last asks for the same. */
  #tell(address: string, reply: boolean): void {
    const { updateBytes } = this.#options.settings;
    let updates: Update[] = [];
    let bytes = 0;
    for (const update of this.#members.everything()) {
      const size = this.#options.measure(update);
      if (updates.length > 0 && bytes + size > updateBytes) {
        this.#send(address, { type: 'state', from: this.#self, reply: false, updates });
        updates = [];
        bytes = 0;
      }
      updates.push(update);
      bytes += size;
    }
    this.#send(address, { type: 'state', from: this.#self, reply, updates });
  }

  #exchange(): void {
    const [member] = this.#shuffled(this.#members.reachable());
    if (member !== undefined) this.#tell(member.addresses.gossip, true);
  }

  /** Tries one of the dead, or a seed that is no living member: it may be back, or a partition may have healed. */
  #reconnect(): void {
    const known = new Set(this.#members.reachable().map(({ addresses }) => addresses.gossip));
    const lost = [...this.#members.dead().map(({ addresses }) => addresses.gossip), ...this.#seeds];
    const [address] = this.#shuffled(lost.filter((candidate) => !known.has(candidate)));
    if (address !== undefined) this.#tell(address, true);
  }

  #every(name: string, delay: () => number, run: () => void): void {
    const again = (): void => {
      this.#timers.set(
        name,
        this.#options.clock.after(delay(), () => {
          run();
          if (!this.#stopped) again();
        }),
      );
    };
    again();
  }

  #shuffled<T>(items: readonly T[]): T[] {
    const shuffled = [...items];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = Math.floor(this.#options.random.next() * (i + 1));
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }
}
