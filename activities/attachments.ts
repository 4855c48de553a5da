/** Which node shows a volume: the record in etcd, which fences, and the frontend on the node. */

import { Context } from '@temporalio/activity';
import { moveAttachment } from '../core/attachment.js';
import type { Attachment, Volume } from '../core/domain.js';
import { DomainError } from '../core/errors.js';
import type { Generation, NodeId, VolumeId } from '../core/types.js';
import type { CopyAnswer } from '../core/volume-plan.js';
import { askCopies, requireVolume } from './copies.js';
import type { ActivityDeps, OpenedAttachment } from './deps.js';

export interface AttachmentState {
  readonly generation: Generation;
  readonly node?: NodeId;
}

export interface AttachmentActivities {
  readAttachment(request: { volume: VolumeId }): Promise<AttachmentState>;
  /**
   * 'not-found' for an unknown node, 'node-unavailable' for one that is not alive, or if the volume is detached and no
   * copy in sync answers; 'invalid-state' if it is not ready.
   */
  checkAttachable(request: { volume: VolumeId; node: NodeId }): Promise<void>;
  /**
   * Puts the record from `expected` to a higher generation, to `node` or, without, to detached. It is there already,
   * as after an earlier attempt: succeeds. 'stale-write' if it is anywhere else.
   */
  moveAttachment(request: { volume: VolumeId; expected: Generation; node?: NodeId }): Promise<AttachmentState>;
  /** Whether the node is alive, as far as etcd's lease and gossip tell. */
  isNodeAlive(request: { node: NodeId }): Promise<boolean>;
}

export interface NodeAttachmentActivities {
  /** Opens frontend and device on this node; 'stale-write' if the record has another generation or node. */
  openAttachment(request: { volume: VolumeId; generation: Generation }): Promise<OpenedAttachment>;
  closeAttachment(request: { volume: VolumeId; generation: Generation }): Promise<void>;
}

export function createAttachmentActivities(deps: ActivityDeps): AttachmentActivities {
  const { state, settings } = deps;

  async function isNodeAlive(node: NodeId): Promise<boolean> {
    if (deps.nodeHealth(node) === 'dead') return false;
    const liveness = await state.liveness.list();
    return liveness.some(({ value }) => value.node === node);
  }

  return {
    async readAttachment({ volume }) {
      return attachmentState(await requireAttachment(deps, volume));
    },

    async checkAttachable({ volume, node }) {
      const record = await requireVolume(deps, volume);
      if (record.phase !== 'ready') throw new DomainError('invalid-state', `volume ${record.name} is ${record.phase}`);
      const found = await state.nodes.get(node);
      if (found === undefined) throw new DomainError('not-found', `node ${node} not found`);
      if (!(await isNodeAlive(node))) throw new DomainError('node-unavailable', `node ${found.value.name} is offline`);
      // Whoever has it may wait for it.
      if ((await requireAttachment(deps, volume)).node === undefined) await requireCopy(deps, record);
    },

    async moveAttachment({ volume, expected, node }) {
      const met = node === undefined ? undefined : await generationMet(deps, volume);
      const { value } = await state.attachments.update(volume, (current) =>
        moveAttachment(current, { expected, node, met, timestamp: settings.timestamp() }),
      );
      return attachmentState(value);
    },

    isNodeAlive: ({ node }) => isNodeAlive(node),
  };
}

export function createNodeAttachmentActivities(deps: ActivityDeps): NodeAttachmentActivities {
  return {
    async openAttachment({ volume, generation }) {
      const [record, attachment] = await Promise.all([requireVolume(deps, volume), requireAttachment(deps, volume)]);
      if (attachment.generation !== generation || attachment.node !== deps.self) {
        throw new DomainError('invalid-state', `volume ${record.name} was attached elsewhere meanwhile`);
      }
      return deps.attachments.open(record, attachment);
    },

    closeAttachment: ({ volume, generation }) => deps.attachments.close(volume, generation),
  };
}

async function requireAttachment(deps: Pick<ActivityDeps, 'state'>, volume: VolumeId): Promise<Attachment> {
  const found = await deps.state.attachments.get(volume);
  if (found === undefined) throw new DomainError('not-found', `volume ${volume} not found`);
  return found.value;
}

type SilentAnswer = Extract<CopyAnswer, string>;

/** Nodes that have just started need a moment until they are connected and have opened what they hold. */
const ASKED_AGAIN = 4;
const PAUSE_MS = 500;

const OBSTACLES: Readonly<Record<SilentAnswer, string>> = {
  absent: 'its copy is lost',
  damaged: 'its copy cannot be opened',
  unreachable: 'cannot be reached',
};

/** One that answers may serve, perhaps after a failover; one that has just come back answers soon. */
async function requireCopy(deps: ActivityDeps, { id, name, placements }: Volume): Promise<void> {
  const { state } = deps;
  const inSync = (await state.membershipStore.read(id))?.inSync;
  if (inSync === undefined) return;
  const copies = placements.filter(({ deployment }) => inSync.includes(deployment));
  let answers = await askCopies(deps, copies);
  const silent = () => [...answers.values()].every((answer) => typeof answer === 'string');
  for (let again = 0; silent() && again < ASKED_AGAIN; again++) {
    await Context.current().sleep(PAUSE_MS);
    answers = await askCopies(deps, copies);
  }
  if (!silent()) return;
  const obstacles = copies.map(async ({ deployment, node }) => {
    const host = (await state.nodes.get(node))?.value.name ?? node;
    return `${host} (${OBSTACLES[answers.get(deployment) as SilentAnswer]})`;
  });
  throw new DomainError(
    'node-unavailable',
    `no copy of volume ${name} answers: ${(await Promise.all(obstacles)).join(', ')}`,
  );
}

/** The latest that the primary has met, which etcd may have forgotten; undefined: it does not tell. */
async function generationMet(deps: ActivityDeps, volume: VolumeId): Promise<number | undefined> {
  const record = await deps.state.membershipStore.read(volume);
  if (record === undefined) return undefined;
  const [answer] = (await askCopies(deps, [record.primary])).values();
  return typeof answer === 'object' ? answer.generation : undefined;
}

function attachmentState({ generation, node }: Attachment): AttachmentState {
  return { generation, ...(node !== undefined && { node }) };
}
