/** What the parts of a simulation know of each other. */

import type { Placement } from '../../core/domain.js';
import type { PeerMessage } from '../../core/messages.js';
import type { DeploymentStore, IndexedBlock } from '../../core/ports.js';
import type { ReplicationSettings } from '../../core/replication/replicated-deployment.js';
import type { DeploymentId, NodeId, VolumeId } from '../../core/types.js';
import type { SimEtcd } from './etcd.js';
import type { Leases } from './leases.js';
import type { Network } from './network.js';
import type { SimNode } from './node.js';
import type { Scheduler, SeededRandom, SimClock } from './scheduler.js';
import type { SimVolume } from './volume.js';

export interface CopyOfVolume {
  readonly volume: VolumeId;
  readonly deployment: DeploymentId;
}

/** `slow`: some 200 ms for what goes to the device; `stuck`: nothing is answered until it is faster again. */
export type DiskSpeed = 'usual' | 'slow' | 'stuck';

/** What a node keeps its copies on. */
export interface NodeDisk {
  /** For a new process. */
  open(clock: SimClock): Promise<void>;
  /** All that are on it. */
  readonly copies: readonly CopyOfVolume[];
  /** Makes it and opens it; opens it if it is there. */
  create(copy: CopyOfVolume & { readonly etcdClusterId: string }): Promise<DeploymentStore>;
  /** Also after its store has failed, in the same process. */
  openCopy(deployment: DeploymentId): Promise<DeploymentStore>;
  remove(deployment: DeploymentId): Promise<void>;
  /** Whether anything of it is there, also of what could not be removed yet. */
  holds(deployment: DeploymentId): boolean;
  /** In good order. */
  close(): Promise<void>;
  /** The process is gone; with `power`, so is what was not synced. */
  crash(power: boolean): void;
  /** Told of blocks that were found bad while nobody was reading them. */
  onBadBlocks: (deployment: DeploymentId, blocks: readonly IndexedBlock[]) => void;
  setFull(full: boolean): void;
  failNextSync(fail: boolean): void;
  /** Share of removals in whose course a sync fails. */
  failRemovals(share: number): void;
  setSpeed(speed: DiskSpeed): void;
  /** Damages a stored payload; false if there is none. */
  rot(random: SeededRandom): boolean;
  /** Puts one payload in another one's place; false if there are none. */
  misdirect(random: SeededRandom): boolean;
  /** One of the two has happened. */
  readonly damaged: boolean;
}

export interface World {
  readonly scheduler: Scheduler;
  readonly random: SeededRandom;
  readonly network: Network;
  readonly leases: Leases;
  readonly etcd: SimEtcd;
  readonly volumes: readonly SimVolume[];
  readonly nodes: readonly SimNode[];
  readonly settings: ReplicationSettings;
  /** That all nodes speak. */
  readonly protocolVersion: number;
  /** Whether any disk has damaged what it stores. */
  readonly damaged: boolean;
  /** Of payloads that are damaged on their way between nodes; undefined: none is. */
  readonly garbling: SeededRandom | undefined;
  /** Whether frontends write; else they only read and flush. */
  readonly writing: boolean;
  trace(who: string, what: string, fields?: Readonly<Record<string, unknown>>, volume?: number): void;
  /** Something went wrong that only a fault can excuse. */
  failed(node: NodeId, error: unknown): void;
  count(what: string, number: number): void;
  node(id: NodeId): SimNode;
}

/** From copy to copy. */
export interface Envelope {
  readonly volume: SimVolume;
  readonly from: Placement;
  readonly to: DeploymentId;
  readonly message: PeerMessage;
}
