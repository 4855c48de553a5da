/**
 * Volumes of which nodes have copies and etcd has no record: etcd was restored from a snapshot that is older than they
 * are, or emptied. Their copies stay, as nothing is erased without a tombstone; here is how one comes back. What its
 * record said is known from the nodes, which remember it beside their copies.
 */

import type { FsType, Namespace, Placement, Volume } from './domain.js';
import { LABEL_PREFIX, MAX_REPLICAS } from './domain.js';
import type { RememberedVolume, SurveyedCopy } from './recovery.js';
import type { DeploymentId, Epoch, NamespaceId, NodeId, VolumeId } from './types.js';

/** Volumes that one answer lists at the most. */
export const MAX_LOST_VOLUMES = 1000;

/** What a node has on its disks of one volume of which it sees no record. */
export interface HeldVolume {
  readonly volume: VolumeId;
  readonly deployments: readonly DeploymentId[];
  readonly sizeBytes: number;
  /** The highest epoch that one of them has promised. */
  readonly promised: Epoch;
  /** As the node remembers it; absent: it does not. */
  readonly name?: string | undefined;
  readonly namespaceName?: string | undefined;
}

/** The same for the whole cluster. */
export interface LostVolume {
  readonly id: VolumeId;
  /** '' where no node remembers it. */
  readonly name: string;
  readonly namespaceName: string;
  readonly sizeBytes: number;
  /** The highest that a copy has promised. */
  readonly epoch: Epoch;
  readonly copies: readonly Placement[];
}

export interface LostVolumes {
  /** By id; MAX_LOST_VOLUMES at the most. */
  readonly volumes: readonly LostVolume[];
  /** Nodes that did not answer: there may be more. */
  readonly silent: readonly NodeId[];
}

/** `known`: etcd has its record. `buried`: there is a tombstone, so that the copy is about to be erased. */
export function lostVolumes(
  held: ReadonlyMap<NodeId, readonly HeldVolume[]>,
  known: (volume: VolumeId) => boolean,
  buried: (deployment: DeploymentId) => boolean,
): LostVolume[] {
  const found = new Map<VolumeId, LostVolume>();
  for (const [node, volumes] of held) {
    for (const { volume, deployments, sizeBytes, promised, name, namespaceName } of volumes) {
      const copies = deployments.filter((id) => !buried(id)).map((deployment) => ({ deployment, node }));
      if (known(volume) || copies.length === 0) continue;
      const before = found.get(volume);
      // Who has promised the most has heard of the volume last.
      const newer = before === undefined || promised > before.epoch;
      found.set(volume, {
        id: volume,
        name: (newer ? name : undefined) ?? before?.name ?? name ?? '',
        namespaceName: (newer ? namespaceName : undefined) ?? before?.namespaceName ?? namespaceName ?? '',
        sizeBytes,
        epoch: Math.max(promised, before?.epoch ?? 0) as Epoch,
        copies: [...(before?.copies ?? []), ...copies],
      });
    }
  }
  return [...found.values()].sort((a, b) => (a.id < b.id ? -1 : 1)).slice(0, MAX_LOST_VOLUMES);
}

/** The newest of what nodes remember of a volume. */
export function newestMemory(remembered: readonly RememberedVolume[]): RememberedVolume | undefined {
  return remembered.reduce<RememberedVolume | undefined>(
    (newest, memory) => (newest === undefined || memory.volume.updatedAt > newest.volume.updatedAt ? memory : newest),
    undefined,
  );
}

/** What the user says of a volume that is to come back; each is needed only where nobody remembers it, or it is taken. */
export interface LostVolumeWishes {
  readonly name?: string;
  readonly namespace?: NamespaceId;
  readonly fsType?: FsType;
}

/** Of a volume in the key store. `unusable`: there is one, and it does not open with the cluster key. */
export type KeyCondition = 'usable' | 'missing' | 'unusable';

/** What stored blocks say. `empty`: there is none that would tell; `untold`: no copy has told of all of its blocks. */
export type Encryption = 'encrypted' | 'plain' | 'empty' | 'untold';

export interface RestorationInput {
  readonly volume: VolumeId;
  readonly wishes: LostVolumeWishes;
  readonly remembered: RememberedVolume | undefined;
  readonly copies: readonly SurveyedCopy[];
  readonly placements: readonly Placement[];
  readonly namespaces: readonly Namespace[];
  /** Whether a volume of etcd's has this name there. */
  readonly isTaken: (namespace: NamespaceId, name: string) => boolean;
  readonly key: KeyCondition;
  readonly encrypted: Encryption;
  /** RFC 3339. */
  readonly timestamp: string;
}

/** What has to be mended or decided before the volume can come back. */
export type Obstacle =
  | { readonly kind: 'nameless' }
  | { readonly kind: 'namespace-gone'; readonly name: string }
  | { readonly kind: 'name-taken'; readonly name: string; readonly namespaceName: string }
  /** What is encrypted can't be read by anybody. */
  | { readonly kind: 'key-missing' }
  | { readonly kind: 'key-unusable' }
  /** Taken for what it is not, it would be read as garbage, and written so. */
  | { readonly kind: 'encryption-untold' }
  /** Nobody knows how large it is. */
  | { readonly kind: 'shapeless' };

/** What has to be accepted by somebody. */
export type RestorationRisk = { readonly kind: 'was-being-deleted' };

export interface Restoration {
  readonly obstacles: readonly Obstacle[];
  readonly risks: readonly RestorationRisk[];
  /** '' where nothing says. */
  readonly name: string;
  readonly namespaceName: string;
  readonly sizeBytes: number;
  /** Complete only without obstacles. */
  readonly record: Volume | undefined;
}

/** The record with which the volume comes back, or what stands against it. */
export function planRestoration(input: RestorationInput): Restoration {
  const { wishes, remembered } = input;
  const obstacles: Obstacle[] = [];
  const name = wishes.name ?? remembered?.volume.name ?? '';
  const namespace = findNamespace(input);
  const namespaceName = namespace?.name ?? remembered?.namespaceName ?? '';
  if (name === '' || (namespace === undefined && remembered === undefined)) obstacles.push({ kind: 'nameless' });
  else if (namespace === undefined) obstacles.push({ kind: 'namespace-gone', name: namespaceName });
  else if (input.isTaken(namespace.id, name)) obstacles.push({ kind: 'name-taken', name, namespaceName });
  const encryption = isEncrypted(input);
  if (encryption === undefined) obstacles.push({ kind: 'encryption-untold' });
  else if (encryption && input.key !== 'usable') obstacles.push({ kind: `key-${input.key}` });
  const shape = shapeOf(input);
  if (shape === undefined) obstacles.push({ kind: 'shapeless' });
  const sizeBytes = shape === undefined ? 0 : shape.blocks * shape.blockSize;
  const risks: RestorationRisk[] = remembered?.volume.phase === 'deleting' ? [{ kind: 'was-being-deleted' }] : [];
  const told = { obstacles, risks, name, namespaceName, sizeBytes };
  if (shape === undefined || namespace === undefined || encryption === undefined || obstacles.length > 0) {
    return { ...told, record: undefined };
  }
  return {
    ...told,
    record: {
      ...settled(remembered?.volume ?? forgotten(input, encryption)),
      id: input.volume,
      namespace: namespace.id,
      name,
      sizeBytes,
      blockSize: shape.blockSize,
      encryption,
      phase: 'ready',
      placements: input.placements,
      updatedAt: input.timestamp,
    },
  };
}

/** Without what was about to happen to it. */
function settled(volume: Volume): Volume {
  const { nextCopyOn, evicting, evictionCandidates, reason, ...settings } = volume;
  return settings;
}

/** What blocks say; else what was remembered; else by its key, which only encrypted ones have. Undefined: nobody knows. */
function isEncrypted({ encrypted, remembered, key }: RestorationInput): boolean | undefined {
  if (encrypted === 'encrypted' || encrypted === 'plain') return encrypted === 'encrypted';
  if (remembered !== undefined) return remembered.volume.encryption;
  if (key !== 'missing') return true;
  return encrypted === 'empty' ? false : undefined;
}

/** The user's; else the one that it was in; else one of the same name, if that one was lost as well and made anew. */
function findNamespace({ wishes, remembered, namespaces }: RestorationInput): Namespace | undefined {
  if (wishes.namespace !== undefined) return namespaces.find(({ id }) => id === wishes.namespace);
  return (
    namespaces.find(({ id }) => id === remembered?.volume.namespace) ??
    namespaces.find(({ name }) => name === remembered?.namespaceName)
  );
}

function shapeOf({ copies, remembered }: RestorationInput): SurveyedCopy['shape'] {
  const told = copies.find(({ shape }) => shape !== undefined)?.shape;
  if (told !== undefined || remembered === undefined) return told;
  const { sizeBytes, blockSize } = remembered.volume;
  return { blockSize, blocks: Math.ceil(sizeBytes / blockSize) };
}

/** The settings of a volume of which nobody remembers any: those of one that was made without labels, with its copies. */
function forgotten({ volume, wishes, placements, timestamp }: RestorationInput, encryption: boolean): Volume {
  const replicas = Math.min(Math.max(0, placements.length - 1), MAX_REPLICAS);
  return {
    id: volume,
    namespace: '' as NamespaceId,
    name: '',
    description: '',
    labels: {
      [`${LABEL_PREFIX}replicas`]: String(replicas),
      ...(encryption && { [`${LABEL_PREFIX}encryption`]: 'true' }),
    },
    sizeBytes: 0,
    blockSize: 0,
    fsType: wishes.fsType ?? 'ext4',
    replicas,
    failureMode: { kind: 'hard' },
    durability: 'writeback',
    compression: true,
    encryption,
    phase: 'ready',
    placements,
    createdAt: timestamp,
    updatedAt: timestamp,
  };
}

/** For people: what is in the way, and what to do about it. */
export function describeObstacle(obstacle: Obstacle): string {
  switch (obstacle.kind) {
    case 'nameless':
      return 'no node remembers its name and namespace: give both';
    case 'namespace-gone':
      return `its namespace "${obstacle.name}" does not exist: create it, or give another one`;
    case 'name-taken':
      return `namespace "${obstacle.namespaceName}" has another volume "${obstacle.name}": give another name`;
    case 'key-missing':
      return 'it is encrypted and its key is not in the key store: restore the key file <volume id>.key, without it nobody can read the data';
    case 'key-unusable':
      return 'it is encrypted and its key does not open with the cluster key: restore the cluster key that it was wrapped with';
    case 'encryption-untold':
      return 'no copy tells whether it is encrypted: try again when its nodes answer';
    case 'shapeless':
      return 'no copy of it answers';
  }
}

/** For people: what they accept with the volume. */
export function describeRestorationRisk({ kind }: RestorationRisk): string {
  switch (kind) {
    case 'was-being-deleted':
      return 'its deletion was accepted: it comes back whole, or as what is left of it, and is kept';
  }
}
