/** Volumes of which etcd has no record: found by asking the nodes, and given their records again. */

import type { LostVolumeReport } from '../core/controller.js';
import type { Volume } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import {
  describeObstacle,
  type HeldVolume,
  type LostVolumes,
  type LostVolumeWishes,
  lostVolumes,
  newestMemory,
  planRestoration,
  type Restoration,
} from '../core/lost-volumes.js';
import { FLAG_XTS, KIND_DATA } from '../core/record.js';
import { planRecovery, type RecoveryPlan, type SurveyedCopy } from '../core/recovery.js';
import type { BlockNumber, Generation, NodeId, VolumeId } from '../core/types.js';
import type { ActivityDeps, InventoryPage } from './deps.js';
import { report, requireAccepted } from './recover.js';
import { type Survey, surveyNodes } from './survey.js';

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
  const [volumes, tombstones] = await Promise.all([state.volumes.list(), state.tombstones.list()]);
  const known = new Set(volumes.map(({ value }) => value.id));
  const buried = new Set(tombstones.map(({ value }) => value.deployment));
  const found = lostVolumes(
    held,
    (volume) => known.has(volume),
    (deployment) => buried.has(deployment),
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
  const all = await surveyAll(deps, volume, new Set(nodes.map(({ value }) => value.id)));
  const buried = new Set((await state.tombstones.list()).map(({ value }) => value.deployment));
  const copies = all.copies.filter(({ status }) => !buried.has(status.deployment));
  const closed = all.closed.filter(({ deployment }) => !buried.has(deployment));
  const found = { ...all, copies, closed };
  const { silent } = found;
  const remembered = newestMemory(found.remembered);
  if (copies.length + closed.length === 0) {
    const unheard = silent.length === 0 ? '' : `; ${silent.length} nodes do not answer: ${silent.join(', ')}`;
    throw new DomainError('not-found', `no node has a copy of a volume ${volume}${unheard}`);
  }
  const [record, encrypted, volumes] = await Promise.all([
    state.membershipStore.read(volume),
    isEncrypted(deps, copies),
    state.volumes.list(),
  ]);
  const { etcdClusterId } = state;
  const timestamp = settings.timestamp();
  const placements = (remembered?.volume.placements ?? []).filter(({ deployment }) => !buried.has(deployment));
  const plan = planRecovery({ volume, record, placements, copies, closed, silent, etcdClusterId, timestamp });
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
    generation: Math.max(first.generation, second.generation) as Generation,
  };
}

/** What the first block with a payload says; undefined if there is none, or no copy tells. */
async function isEncrypted(
  { replication }: Pick<SurveyDeps, 'replication'>,
  copies: readonly SurveyedCopy[],
): Promise<boolean | undefined> {
  for (const { node, status } of copies) {
    let from: number | undefined = 0;
    for (let page = 0; page < MAX_INVENTORY_PAGES && from !== undefined; page++) {
      const told: InventoryPage | undefined = await replication
        .remoteInventory({ deployment: status.deployment, node }, from as BlockNumber, INVENTORY_BLOCKS)
        .catch(() => undefined);
      const payload = told?.blocks.find(({ kind }) => kind === KIND_DATA);
      if (payload !== undefined) return (payload.flags & FLAG_XTS) !== 0;
      from = told?.next;
    }
  }
  return undefined;
}

function describe({ volume, found, plan, restoration }: LostSurvey, recovered: boolean): LostVolumeReport {
  const { name, namespaceName, sizeBytes, obstacles } = restoration;
  return {
    ...report(volume, plan, recovered),
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
    if (restoration.obstacles.length > 0) {
      throw new DomainError(
        'invalid-state',
        `volume ${volume}: ${restoration.obstacles.map(describeObstacle).join('; ')}`,
      );
    }
    if (next === undefined || restoration.record === undefined) {
      throw new DomainError('node-unavailable', `no node with a copy of volume ${volume} answers`);
    }
    requireAccepted(plan, acceptLoss);
    // Before the records, which they take for another etcd's otherwise.
    for (const copy of plan.adopting) await replication.adoptCluster(copy, state.etcdClusterId, SURVEY_TIMEOUT_MS);
    await state.restoreVolume(restoration.record, next, (found.generation + 1) as Generation);
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
