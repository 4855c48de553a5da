/** One deployment under test on virtual time; the test plays the other copies, etcd and the frontends. */

import type { FailureMode, Membership } from '../../../../core/domain.js';
import { activate, initialMembership } from '../../../../core/membership.js';
import {
  type FrontendMessage,
  type MemberMessage,
  type PeerMessage,
  type PrimaryMessage,
  type SessionMessage,
  VERSION_WITH_MARKS,
} from '../../../../core/messages.js';
import type { DeploymentStore, IndexedBlock, SessionLink, SwapOutcome } from '../../../../core/ports.js';
import {
  DEFAULT_SETTINGS,
  ReplicatedDeployment,
  type ReplicationSettings,
} from '../../../../core/replication/replicated-deployment.js';
import { ADMIT_ALL } from '../../../../core/replication/sync-admission.js';
import type {
  BlockNumber,
  DeploymentId,
  Epoch,
  Generation,
  Incarnation,
  NodeId,
  Sequence,
  SessionNumber,
  VolumeId,
} from '../../../../core/types.js';
import { verify } from '../../../sim/blocks.js';
import { copied, Leases } from '../../../sim/leases.js';
import { Scheduler, SeededRandom, SimClock, SimProcess } from '../../../sim/scheduler.js';
import { StoreDisk } from '../../../sim/store-disk.js';

export const VOLUME = '00000000-0000-4000-8000-000000000001' as VolumeId;
export const SELF = '00000000-0000-4000-8000-00000000000a' as DeploymentId;
export const OTHER = '00000000-0000-4000-8000-00000000000b' as DeploymentId;
export const NODE = 'node-a' as NodeId;
export const OTHER_NODE = 'node-b' as NodeId;
export const OTHER_LIFE = 'incarnation-b' as Incarnation;

type Sent<T extends PeerMessage['type']> = Extract<PeerMessage, { type: T }>;

export class Lab {
  readonly scheduler = new Scheduler();
  readonly process = new SimProcess(this.scheduler);
  readonly random = new SeededRandom(1);
  readonly disk = new StoreDisk({
    scheduler: this.scheduler,
    random: this.random,
    volume: VOLUME,
    deployment: SELF,
    blocks: 64,
    etcdClusterId: 'e',
  });
  readonly clock = new SimClock(this.scheduler, this.process, 1, 0);
  /** Leases of what frontends write and read here. */
  readonly leases = new Leases(0, (how) => {
    throw new Error(how);
  });
  readonly sent: PeerMessage[] = [];
  readonly attentions: string[] = [];
  readonly errors: unknown[] = [];
  /** What went to the log, but for what it was told of it. */
  readonly logged: string[] = [];
  readonly swaps: { expected: Membership; next: Membership; settle: (outcome: SwapOutcome) => void }[] = [];
  /** What etcd holds. */
  record: Membership | undefined;
  linkUp = true;
  /** Syncs that its node takes in. */
  admission = ADMIT_ALL;
  /** That the other copies speak. */
  protocolVersion = VERSION_WITH_MARKS;
  store!: DeploymentStore;
  deployment!: ReplicatedDeployment;

  static async open(
    settings: Partial<ReplicationSettings> = {},
    failureMode: FailureMode = { kind: 'alwayson' },
  ): Promise<Lab> {
    const lab = new Lab();
    let opened: DeploymentStore | undefined;
    void lab.disk.open(lab.process, lab.clock).then((store) => {
      opened = store;
    });
    await lab.scheduler.run(1_000, () => opened !== undefined);
    lab.store = opened!;
    lab.deployment = new ReplicatedDeployment({
      self: { volume: VOLUME, deployment: SELF, node: NODE },
      store: lab.store,
      // Of its own, so that its timers can be told from the store's.
      clock: new SimClock(lab.scheduler, lab.process, 1, 0),
      random: lab.random,
      links: {
        send: (_, message) => lab.sent.push(message),
        isUp: () => lab.linkUp,
        version: () => (lab.linkUp ? lab.protocolVersion : 0),
      },
      memberships: {
        swap: (expected, next) =>
          new Promise((resolve) => {
            lab.swaps.push({ expected, next, settle: resolve });
          }),
        read: async () => lab.record,
      },
      settings: { ...DEFAULT_SETTINGS, ...settings },
      etcdClusterId: 'e',
      admission: {
        admit: (target) => lab.admission.admit(target),
        renew: (target) => lab.admission.renew(target),
        release: (target) => lab.admission.release(target),
      },
      events: {
        attention: (reason) => lab.attentions.push(reason),
        log: (level, message, fields) => {
          lab.logged.push(`${level}: ${message}`);
          if (level === 'error') lab.errors.push(fields.error);
        },
      },
      verify,
      lend: (bytes) => lab.leases.lendBytes(bytes, lab.process),
    });
    lab.deployment.onVolume({
      replicas: 1,
      failureMode,
      durability: 'writeback',
      placements: [
        { deployment: SELF, node: NODE },
        { deployment: OTHER, node: OTHER_NODE },
      ],
    });
    return lab;
  }

  /** Lets virtual time pass. */
  async pass(ms: number): Promise<void> {
    await this.scheduler.run(this.scheduler.now + ms);
  }

  /** What the index has of one block. */
  async lookUp(block: number): Promise<IndexedBlock | undefined> {
    let known: { readonly indexed: IndexedBlock | undefined } | undefined;
    const looked = this.store.look([block as BlockNumber], (lookup) => {
      known = { indexed: lookup(block as BlockNumber) };
    });
    await this.scheduler.run(this.scheduler.now + 20, () => known !== undefined);
    await looked;
    return known!.indexed;
  }

  /** Lets virtual time pass until `done`, at most a second. */
  async until(done: () => boolean): Promise<void> {
    await this.scheduler.run(this.scheduler.now + 1_000, done);
  }

  last<T extends PeerMessage['type']>(type: T): Sent<T> | undefined {
    return this.sent.filter((message) => message.type === type).at(-1) as Sent<T> | undefined;
  }

  all<T extends PeerMessage['type']>(type: T): Sent<T>[] {
    return this.sent.filter((message) => message.type === type) as Sent<T>[];
  }

  receive(message: PrimaryMessage | MemberMessage): void {
    this.deployment.onMessage({ volume: VOLUME, from: OTHER, fromNode: OTHER_NODE, to: SELF, message });
  }

  /** The first record, which names this deployment. */
  initial(inSync: DeploymentId[] = [SELF, OTHER]): Membership {
    const primary = { deployment: SELF, node: NODE, incarnation: this.store.incarnation };
    return initialMembership({ volume: VOLUME, primary, inSync, etcdClusterId: 'e' });
  }

  observe(record: Membership): void {
    this.record = record;
    this.deployment.onMembership(record);
  }

  /** The other copy promises whatever it was asked for, and has everything up to `last`. */
  promise(last = this.store.last): void {
    const { epoch } = this.last('promise')!;
    this.receive({
      type: 'promised',
      epoch,
      incarnation: OTHER_LIFE,
      last,
      generation: 0 as Generation,
      unclean: false,
    });
  }

  grantLease(): void {
    const asked = this.last('lease')!;
    this.receive({ type: 'leased', epoch: asked.epoch, incarnation: OTHER_LIFE, lease: asked.lease });
  }

  confirm(last = this.store.last.sequence as number, durable = 0): void {
    this.receive({
      type: 'appended',
      epoch: this.last('append')!.epoch,
      incarnation: OTHER_LIFE,
      last: last as Sequence,
      durable: durable as Sequence,
    });
  }

  /** etcd accepts the swap that was asked for last. */
  async apply(): Promise<void> {
    const swap = this.swaps.at(-1)!;
    this.record = swap.next;
    swap.settle('applied');
    await this.pass(200);
  }

  /** Active with one other member, leases in hand. */
  async makePrimary(): Promise<void> {
    this.observe(this.initial());
    await this.pass(80);
    this.promise();
    await this.pass(80);
    await this.apply();
    this.promise();
    await this.pass(40);
    this.grantLease();
    await this.pass(40);
  }

  frontend(): { link: SessionLink; got: SessionMessage[]; send: (message: FrontendMessage) => void } {
    const got: SessionMessage[] = [];
    // What is kept beyond the call has to be copied.
    const link: SessionLink = { send: (message) => got.push(copied(message)), closed: false };
    return {
      link,
      got,
      send: (message) => {
        if (message.type === 'open') this.deployment.openSession(link, message);
        else this.deployment.onFrontend(link, message);
      },
    };
  }

  /** An open session; its generation is on the other copy. */
  async session(number = 1, generation = 1) {
    const frontend = this.frontend();
    frontend.send({ type: 'open', session: number as SessionNumber, generation: generation as Generation });
    await this.pass(2);
    // The generation is durable on both before anything is served.
    if (this.all('append').length > 0) this.confirm(undefined, this.store.last.sequence);
    await this.pass(20);
    return frontend;
  }
}

/** The record after an activation with all confirmed, as another primary would have left it. */
export function activated(record: Membership, startsAfter = 0): Membership {
  return activate(record, {
    startsAfter: startsAfter as Sequence,
    confirmed: new Set(record.inSync),
    lossy: false,
    reason: () => '',
    timestamp: '',
  });
}

export function promiseOf(epoch: number, history: Membership['history'] = []): PrimaryMessage {
  return {
    type: 'promise',
    epoch: epoch as Epoch,
    history,
    primaryIncarnation: OTHER_LIFE,
    etcdClusterId: 'e',
  };
}
