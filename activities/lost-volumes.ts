/** Volumes of which etcd has no record: found by asking the nodes, and given their records again. */

import { nextGeneration } from '../core/attachment.js';
import type { LostVolumeReport } from '../core/controller.js';
import type { Volume } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import {
  describeObstacle,
  describeRestorationRisk,
  type Encryption,
  type HeldVolume,
  type LostVolumes,
  type LostVolumeWishes,
  lostVolumes,
  newestMemory,
  planRestoration,
  type Restoration,
} from '../core/lost-volumes.js';
import { FLAG_XTS, KIND_DATA } from '../core/record.js';
import { describeRisk, planRecovery, type RecoveryPlan, type SurveyedCopy } from '../core/recovery.js';
import type { BlockNumber, Generation, NodeId, VolumeId } from '../core/types.js';
import type { ActivityDeps, InventoryPage } from './deps.js';
import { report, requireAccepted } from './recover.js';
import { type Survey, surveyNodes, withoutErasable } from './survey.js';
import { buried, tombstoneOf } from './tombstones.js';

/** The nodes open the copies to answer, and go through the ends of their logs. */
const SURVEY_TIMEOUT_MS = 10_000;
const INVENTORY_BLOCKS = 4096;
/** Of the inventory, until a block with a payload is found. */
const MAX_INVENTORY_PAGES = 64;

export interface LostVolumeActivities {
  /**
   * Writes the records of a volume that etcd has lost, as nodes remember them and copies tell, and has all copies adopt
   * the present etcd. Nothing is done if etcd has the record. 'not-found' if no node has a copy; 'invalid-state' if
   * something is in the way, or may be lost and `acceptLoss` does not say that this is accepted.
   */
  recoverLostVolume(request: LostVolumeRequest): Promise<LostVolumeReport>;
}

export interface LostVolumeRequest extends LostVolumeWishes {
  readonly volume: VolumeId;
  readonly acceptLoss: boolean;
}

type SurveyDeps = Pick<ActivityDeps, 'state' | 'replication' | 'settings' | 'keys'>;

/** Also asked by the API, for which no workflow is needed, as is the next one. Errors: those of etcd. */
export async function listLostVolumes({
  state,
  replication,
  settings,
}: Pick<SurveyDeps, 'state' | 'replication' | 'settings'>): Promise<LostVolumes> {
  const held = new Map<NodeId, readonly HeldVolume[]>();
  const silent: NodeId[] = [];
  const erasable = await buried(state);
  await Promise.all(
    (await state.nodes.list()).map(async ({ value: { id } }) => {
      try {
        held.set(id, await replication.held(id, settings.statusTimeoutMs));
      } catch {
        // Whatever the reason, it has told nothing.
        silent.push(id);
      }
    }),
  );
  // Behind the answers: the record of a volume is there before its copies are.
  const [volumes, later] = await Promise.all([state.volumes.list(), buried(state)]);
  const known = new Set(volumes.map(({ value }) => value.id));
  const found = lostVolumes(
    held,
    (volume) => known.has(volume),
    (deployment) => erasable.has(deployment) || later.has(deployment),
  );
  return { volumes: found, silent: silent.sort() };
}

/** What is known of one, and what stands against it. Errors: 'not-found' if etcd has it or no node has a copy. */
export async function surveyLostVolume(
  deps: SurveyDeps,
  volume: VolumeId,
  wishes: LostVolumeWishes = {},
): Promise<LostVolumeReport> {
  if ((await deps.state.volumes.get(volume)) !== undefined) throw notLost(volume);
  return describe(await survey(deps, volume, wishes), false);
}

interface LostSurvey {
  readonly volume: VolumeId;
  readonly found: Survey;
  readonly plan: RecoveryPlan;
  readonly restoration: Restoration;
}

async function survey(deps: SurveyDeps, volume: VolumeId, wishes: LostVolumeWishes): Promise<LostSurvey> {
  const { state, settings, keys } = deps;
  const [nodes, namespaces, key] = await Promise.all([state.nodes.list(), state.namespaces.list(), keys.check(volume)]);
  const { stays, ...found } = await withoutErasable(state, () =>
    surveyAll(deps, volume, new Set(nodes.map(({ value }) => value.id))),
  );
  const { copies, closed, silent, unsure } = found;
  const remembered = newestMemory(found.remembered);
  if (copies.length + closed.length === 0) {
    const unheard = silent.length === 0 ? '' : `; ${silent.length} nodes do not answer: ${silent.join(', ')}`;
    throw new DomainError('not-found', `no node has a copy of a volume ${volume}${unheard}`);
  }
  const [record, encrypted, volumes] = await Promise.all([
    state.membershipStore.read(volume),
    encryptionOf(deps, copies),
    state.volumes.list(),
  ]);
  const { etcdClusterId } = state;
  const timestamp = settings.timestamp();
  const placements = (remembered?.volume.placements ?? []).filter(({ deployment }) => stays(deployment));
  const plan = planRecovery({ volume, record, placements, copies, closed, silent, unsure, etcdClusterId, timestamp });
  const restoration = planRestoration({
    volume,
    wishes,
    remembered,
    copies,
    placements: plan.placements,
    namespaces: namespaces.map(({ value }) => value),
    isTaken: (namespace, name) =>
      volumes.some(({ value }) => value.namespace === namespace && value.name === name && value.id !== volume),
    key,
    encrypted,
    timestamp,
  });
  return { volume, found, plan, restoration };
}

/** Of nodes that etcd has forgotten as well, those are asked that another node remembers as places of copies. */
async function surveyAll(deps: SurveyDeps, volume: VolumeId, nodes: ReadonlySet<NodeId>): Promise<Survey> {
  const first = await surveyNodes(deps, volume, nodes, SURVEY_TIMEOUT_MS);
  const placed = newestMemory(first.remembered)?.volume.placements.map(({ node }) => node) ?? [];
  const others = new Set(placed.filter((node) => !nodes.has(node)));
  if (others.size === 0) return first;
  const second = await surveyNodes(deps, volume, others, SURVEY_TIMEOUT_MS);
  return {
    copies: [...first.copies, ...second.copies],
    closed: [...first.closed, ...second.closed],
    remembered: [...first.remembered, ...second.remembered],
    silent: [...first.silent, ...second.silent],
    unsure: [...first.unsure, ...second.unsure],
    generation: Math.max(first.generation, second.generation) as Generation,
  };
}

/** What the first block with a payload says, of any copy; 'untold' where not all blocks of any could be looked at. */
async function encryptionOf(
  { replication }: Pick<SurveyDeps, 'replication'>,
  copies: readonly SurveyedCopy[],
): Promise<Encryption> {
  let found: Encryption = 'untold';
  for (const { node, status } of copies) {
    let from: number | undefined = 0;
    for (let page = 0; page < MAX_INVENTORY_PAGES && from !== undefined; page++) {
      const told: InventoryPage | undefined = await replication
        .remoteInventory({ deployment: status.deployment, node }, from as BlockNumber, INVENTORY_BLOCKS)
        .catch(() => undefined);
      // Whatever the reason, it has told nothing.
      if (told === undefined) break;
      const payload = told.blocks.find(({ kind }) => kind === KIND_DATA);
      if (payload !== undefined) return (payload.flags & FLAG_XTS) !== 0 ? 'encrypted' : 'plain';
      from = told.next;
    }
    if (from === undefined) found = 'empty';
  }
  return found;
}

function describe({ volume, found, plan, restoration }: LostSurvey, recovered: boolean): LostVolumeReport {
  const { name, namespaceName, sizeBytes, obstacles } = restoration;
  return {
    ...report(volume, plan, recovered),
    risks: [...plan.risks.map(describeRisk), ...restoration.risks.map(describeRestorationRisk)],
    name,
    namespaceName,
    sizeBytes,
    obstacles: obstacles.map(describeObstacle),
    copies: [
      ...found.copies.map(({ node, status, syncBase }) => ({
        deployment: status.deployment,
        node,
        promised: status.promised,
        last: status.last,
        complete: syncBase === null && !status.unclean,
      })),
      ...found.closed.map((copy) => ({ ...copy, complete: false })),
    ],
  };
}

/** It is back: by an attempt of this activity whose answer was lost, or by somebody else. */
async function reportOf({ state }: Pick<SurveyDeps, 'state'>, { id, ...value }: Volume): Promise<LostVolumeReport> {
  const [record, namespaces] = await Promise.all([state.membershipStore.read(id), state.namespaces.list()]);
  const namespace = namespaces.find((known) => known.value.id === value.namespace);
  return {
    volume: id,
    reasons: [],
    risks: [],
    recovered: true,
    name: value.name,
    namespaceName: namespace?.value.name ?? '',
    sizeBytes: value.sizeBytes,
    obstacles: [],
    copies: [],
    ...(record !== undefined && {
      primary: { deployment: record.primary.deployment, node: record.primary.node },
      inSync: record.inSync,
      epoch: record.epoch,
    }),
  };
}

function notLost(volume: VolumeId): DomainError {
  return new DomainError('not-found', `volume ${volume} is not lost: etcd has its record`);
}

export function createLostVolumeActivities(deps: ActivityDeps): LostVolumeActivities {
  const { state, replication } = deps;

  async function restore({ volume, acceptLoss, ...wishes }: LostVolumeRequest): Promise<LostVolumeReport> {
    const known = await survey(deps, volume, wishes);
    const { plan, restoration, found } = known;
    const { next } = plan;
    const { record } = restoration;
    if (restoration.obstacles.length > 0) {
      throw new DomainError(
        'invalid-state',
        `volume ${volume}: ${restoration.obstacles.map(describeObstacle).join('; ')}`,
      );
    }
    if (next === undefined || record === undefined) {
      throw new DomainError('node-unavailable', `no node with a copy of volume ${volume} answers`);
    }
    requireAccepted(describe(known, false).risks, acceptLoss);
    // Before the records, which they take for another etcd's otherwise.
    for (const copy of plan.adopting) await replication.adoptCluster(copy, state.etcdClusterId, SURVEY_TIMEOUT_MS);
    const tombstones = plan.abandoned.map((copy) => tombstoneOf(volume, copy, record.updatedAt));
    await state.restoreVolume(record, next, nextGeneration(found.generation, record.updatedAt), tombstones);
    await deps.look(volume, 'its record was recovered');
    return describe(known, true);
  }

  return {
    async recoverLostVolume(request) {
      const present = await state.volumes.get(request.volume);
      return present === undefined ? restore(request) : reportOf(deps, present.value);
    },
  };
}
