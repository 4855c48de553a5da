/** A volume of a simulation: what it is meant to be, who uses it, and what they did and saw. */

import { moveAttachment } from '../../core/attachment.js';
import type { Attachment, FailureMode, Membership, Placement, Tombstone, Volume } from '../../core/domain.js';
import type { VolumeSpec } from '../../core/replication/replicated-deployment.js';
import type { DeploymentId, Generation, NamespaceId, NodeId, SessionNumber, VolumeId } from '../../core/types.js';
import { BLOCK_BYTES } from './blocks.js';
import { CONTROLLER, SimController } from './controller.js';
import { History } from './history.js';
import type { ObservedCopy } from './in-sync.js';
import type { SimNode } from './node.js';
import type { SeededRandom } from './scheduler.js';
import { SimClient, type WorkloadSettings } from './workload.js';
import type { World } from './world.js';

export const FAILURE_MODES: readonly FailureMode[] = [
  { kind: 'hard' },
  { kind: 'soft' },
  { kind: 'threshold', threshold: 1 },
  { kind: 'alwayson' },
];

/** Write numbers of volume n begin behind n × this: contents say which volume they are of. */
const WRITES_PER_VOLUME = 1 << 24;
const CREATED_AT = '2023-11-14T22:13:20.000Z';

export class SimVolume {
  readonly number: number;
  readonly id: VolumeId;
  readonly workload: WorkloadSettings;
  readonly history: History;
  readonly clients: SimClient[] = [];
  readonly controller: SimController;
  readonly #world: World;
  readonly #random: SeededRandom;
  spec: VolumeSpec;
  /** Of copies that were given up: their nodes erase them. */
  readonly tombstones = new Map<DeploymentId, Tombstone>();
  /** Copies whose tombstones their nodes have buried. */
  readonly erased = new Set<DeploymentId>();
  readonly problems: string[] = [];
  attachment: Attachment;
  /** A record that is written now stands for a loss of whatever absent copies have: somebody has accepted it. */
  mayLoseAll = false;
  /** What else etcd had of it when a record was written. */
  readonly #writtenWith = new Map<
    Membership,
    {
      readonly placements: readonly Placement[];
      readonly tombstones: ReadonlyMap<DeploymentId, Tombstone>;
      readonly attachment: Attachment;
    }
  >();
  /** The record that was written last, whether or not etcd still knows it. */
  newest: Membership | undefined;
  #sessions = 0;
  #lossVerifier = 1;

  constructor(
    world: World,
    options: {
      readonly number: number;
      readonly random: SeededRandom;
      readonly spec: VolumeSpec;
      readonly workload: WorkloadSettings;
    },
  ) {
    this.#world = world;
    this.#random = options.random;
    this.number = options.number;
    this.id = options.random.uuid() as VolumeId;
    this.spec = options.spec;
    this.attachment = { volume: this.id, generation: 0 as Generation, mode: 'rw', updatedAt: CREATED_AT };
    this.workload = options.workload;
    this.history = new History(options.workload.writethrough, options.number * WRITES_PER_VOLUME);
    this.controller = new SimController(world, this);
  }

  trace(who: string, what: string, fields?: Readonly<Record<string, unknown>>): void {
    this.#world.trace(who, what, fields, this.number);
  }

  problem(what: string): void {
    this.problems.push(`v${this.number}: ${what}`);
  }

  get record(): Membership | undefined {
    return this.#world.etcd.record(this.id);
  }

  get primary(): SimNode | undefined {
    const node = this.record?.primary.node;
    return node === undefined ? undefined : this.#world.node(node);
  }

  get openCopies(): ObservedCopy[] {
    return this.#world.nodes.flatMap(({ name, copies }) =>
      [...copies.values()].filter((copy) => copy.volume === this).map(({ replicated }) => ({ name, replicated })),
    );
  }

  /** Where its copies are placed. */
  get nodes(): SimNode[] {
    return this.spec.placements.map(({ node }) => this.#world.node(node));
  }

  nodeOf(deployment: DeploymentId): SimNode | undefined {
    return this.#world.nodes.find(
      (node) =>
        node.copies.has(deployment) ||
        this.spec.placements.some((placed) => placed.deployment === deployment && placed.node === node.id),
    );
  }

  /** As etcd has it. */
  get volumeRecord(): Volume {
    const { replicas, failureMode, durability, placements } = this.spec;
    return {
      id: this.id,
      namespace: 'sim' as NamespaceId,
      name: `v${this.number}`,
      description: '',
      labels: {},
      sizeBytes: this.workload.volumeBlocks * BLOCK_BYTES,
      blockSize: BLOCK_BYTES,
      fsType: 'ext4',
      replicas,
      failureMode,
      durability,
      compression: false,
      encryption: false,
      phase: 'ready',
      placements,
      createdAt: CREATED_AT,
      updatedAt: CREATED_AT,
    };
  }

  /** Every node learns it in its own time. */
  change(change: Partial<VolumeSpec>): void {
    this.spec = { ...this.spec, ...change };
    const { scheduler, network, nodes } = this.#world;
    for (const node of nodes) scheduler.after(network.delay(), () => node.onVolume(this));
  }

  place(placement: Placement): void {
    this.change({ placements: [...this.spec.placements, placement] });
  }

  /** From the record, and from its node's disk when that hears of it. */
  drop(deployment: DeploymentId, node: SimNode | undefined = this.nodeOf(deployment)): void {
    if (node !== undefined) {
      this.tombstones.set(deployment, { deployment, volume: this.id, node: node.id, deletedAt: CREATED_AT });
    }
    this.change({ placements: this.spec.placements.filter((placed) => placed.deployment !== deployment) });
  }

  /** Nothing is left of the copy. */
  bury(deployment: DeploymentId): void {
    if (!this.tombstones.delete(deployment)) return;
    this.erased.add(deployment);
    this.change({});
  }

  attention(): void {
    this.controller.wake();
  }

  #move(node: NodeId | undefined): void {
    const { generation: expected } = this.attachment;
    const met = node === undefined ? undefined : this.#generationOfPrimary();
    const timestamp = new Date(this.#world.scheduler.now).toISOString();
    this.attachment = moveAttachment(this.attachment, { expected, node, met, timestamp });
  }

  /** Undefined: it does not tell. */
  #generationOfPrimary(): number | undefined {
    const { primary, record } = this;
    if (primary === undefined || this.#world.network.isCut(CONTROLLER, primary.name)) return undefined;
    const status = primary.status(record!.primary.deployment);
    return typeof status === 'object' ? status.generation : undefined;
  }

  /** Attaches the volume to a node: fences whoever had it. */
  attach(node: SimNode): void {
    if (this.attachment.node !== undefined) this.#move(undefined);
    this.#move(node.id);
    const { generation } = this.attachment;
    for (const { number, alive, served, generation: other } of this.clients) {
      if (alive && served && other >= generation) {
        this.problem(`generation ${generation} does not fence client ${number}, which has ${other}`);
      }
    }
    this.#world.scheduler.after(1, () => {
      if (!node.up || node.process.paused) return;
      const client = new SimClient(this.#world, this, node, this.clients.length + 1, generation, {
        random: this.#random.fork(),
        nextSession: () => ++this.#sessions as SessionNumber,
      });
      this.clients.push(client);
      this.trace(`client ${client.number}`, `attached on ${node.name}, generation ${generation}`);
    });
  }

  /** The frontend of the present attachment, if it lives. */
  get client(): SimClient | undefined {
    return this.clients.find((client) => client.alive && client.generation === this.attachment.generation);
  }

  /** A record was written. */
  onRecord(record: Membership): void {
    this.newest = record;
    const { spec, tombstones, attachment } = this;
    this.#writtenWith.set(record, { placements: spec.placements, tombstones: new Map(tombstones), attachment });
    this.#onLossVerifier(record.lossVerifier);
  }

  /** All that etcd knows of it is as it was when the present record was written. */
  restore(): void {
    const known = this.record === undefined ? undefined : this.#writtenWith.get(this.record);
    if (known === undefined) return;
    this.attachment = known.attachment;
    this.tombstones.clear();
    for (const [deployment, tombstone] of known.tombstones) this.tombstones.set(deployment, tombstone);
    this.change({ placements: known.placements });
  }

  #onLossVerifier(lossVerifier: number): void {
    // An older etcd counts from an older number on; what is lost is lost once.
    if (lossVerifier <= this.#lossVerifier) return;
    this.#lossVerifier = lossVerifier;
    this.history.losses.push({ at: this.#world.scheduler.now, everything: this.mayLoseAll });
    for (const client of this.clients) if (client.alive) client.onLoss();
  }

  /** All wanted copies are in sync, no other is left, and one of them serves. */
  get whole(): boolean {
    const { record, spec } = this;
    return (
      record?.active === true &&
      !record.readOnly &&
      record.inSync.length === spec.replicas + 1 &&
      spec.placements.length === spec.replicas + 1 &&
      spec.placements.every(({ deployment, node }) => this.#world.node(node).copies.has(deployment)) &&
      this.serving
    );
  }

  /** Whether the primary of the present record serves. */
  get serving(): boolean {
    return this.primary?.serves(this) === true;
  }

  /** Whether one disk could have done what the frontends saw, and told of what was lost. */
  checkHistory(): void {
    const { history, workload } = this;
    const found = history.problems(workload.blocks);
    for (const problem of found) this.problem(problem);
    for (const block of new Set(found.map((problem) => /block (\d+)/.exec(problem)?.[1]))) {
      if (block === undefined) continue;
      for (const line of history.ofBlock(Number(block))) this.trace('history', `block ${block}: ${line}`);
    }
  }
}
