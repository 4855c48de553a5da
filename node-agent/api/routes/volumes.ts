import type { Hono } from 'hono';
import { z } from 'zod';
import { MAX_REPLICAS, type Volume } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import { requiredReplicas } from '../../../core/failure-mode.js';
import { isUuid, type NamespaceId, type NodeId, type VolumeId } from '../../../core/types.js';
import type { Versioned } from '../../state/cluster-state.js';
import { MAX_DESCRIPTION_CHARS } from '../../state/schemas.js';
import type { ApiServices } from '../context.js';
import { chooseFailureMode, failureModeChange, requestedFailureMode } from '../failure-mode-change.js';
import { failureModeText, LABEL_FAILURE_MODE, LABEL_REPLICAS, labelsField, replaceVolumeLabels } from '../labels.js';
import {
  type ApiContext,
  type ApiEnvironment,
  expectedVersion,
  noContent,
  optional,
  pathId,
  queryFlag,
  readBody,
  versionField,
  wholeNumber,
} from '../request.js';
import { newVolume, provision, volumeCreation } from '../volume-creation.js';

/** Volumes that may be attached to one node. */
const MAX_ATTACHMENTS_PER_NODE = 250;

const COLLECTION = '/namespaces/:namespace/volumes';
const ITEM = `${COLLECTION}/:id`;

const change = z.object({
  labels: labelsField,
  description: optional(z.string().max(MAX_DESCRIPTION_CHARS)),
  version: versionField,
});
const attachment = z.object({ nodeID: z.string().refine(isUuid, 'must be the id of a node') });
const replicaChange = z.object({ replicas: optional(wholeNumber.max(MAX_REPLICAS)), version: versionField });

export function volumeRoutes(app: Hono<ApiEnvironment>, services: ApiServices): void {
  const { dependencies, views } = services;
  const { state, controller, random, logger } = dependencies;

  const namespaceOf = (c: ApiContext) => services.namespace(c.get('user'), pathId<NamespaceId>(c, 'namespace'));

  /** The volume of the path. Errors: 'not-found', 'forbidden'. */
  async function volumeOf(c: ApiContext): Promise<Versioned<Volume>> {
    const id = pathId<VolumeId>(c, 'id');
    const namespace = await namespaceOf(c);
    const found = await state.volumes.getOrLastSeen(id);
    if (found?.value.namespace !== namespace.value.id) throw new DomainError('not-found', `volume ${id} not found`);
    return found;
  }

  /** Errors: 'stale-write'. For operations that the workflow carries out, whose outcome is no change of the record. */
  function checkVersion(volume: Versioned<Volume>, expected: string | undefined): void {
    if (expected !== undefined && expected !== volume.version) {
      throw new DomainError('stale-write', `volume ${volume.value.id}: attempting to write stale object`);
    }
  }

  function requireReady(volume: Volume): void {
    if (volume.phase !== 'ready') {
      throw new DomainError('invalid-state', `volume "${volume.name}" is in state "${volume.phase}"`);
    }
  }

  /** The record says already what is wanted; the workflow looks at it in any case, at the latest by itself. */
  async function tellController(id: VolumeId): Promise<void> {
    await controller.changed(id).catch((error) => {
      logger.warn({ volume: id, err: error }, 'the workflow of a changed volume could not be told');
    });
  }

  async function answerVolume(c: ApiContext, id: VolumeId): Promise<Response> {
    return c.json(await views.one(await state.volumes.require(id)));
  }

  app.post(COLLECTION, async (c) => {
    const namespace = await namespaceOf(c);
    const body = await readBody(c, volumeCreation);
    const id = random.uuid() as VolumeId;
    const execution = services.execution(c);
    await state.createVolume(newVolume(body, namespace.value.id, id, services.now()));
    return execution.run(
      `provision volume ${id}`,
      (waitMs) => provision(dependencies, id, { waitMs, removeFailed: execution.waits }),
      async () => {
        const volume = await state.volumes.require(id);
        return volume.value.phase === 'provisioning' ? services.accepted(c) : c.json(await views.one(volume), 201);
      },
    );
  });

  app.get(COLLECTION, async (c) => {
    const { value: namespace } = await namespaceOf(c);
    const all = await state.volumes.listOrLastSeen();
    return c.json(await views.many(all.filter(({ value }) => value.namespace === namespace.id)));
  });

  app.get(ITEM, async (c) => c.json(await views.one(await volumeOf(c))));

  app.put(ITEM, async (c) => {
    const { value } = await volumeOf(c);
    const { labels, description, version } = await readBody(c, change);
    const expected = expectedVersion(c, version);
    return services.execution(c).run(
      `update volume ${value.id}`,
      async () => {
        await state.volumes.update(
          value.id,
          (volume) => ({
            ...volume,
            labels: replaceVolumeLabels(volume.labels, labels ?? {}),
            description: description ?? '',
            updatedAt: services.now(),
          }),
          expected,
        );
      },
      () => answerVolume(c, value.id),
    );
  });

  app.delete(ITEM, async (c) => {
    const volume = await volumeOf(c);
    const { id, name } = volume.value;
    checkVersion(volume, expectedVersion(c, c.req.query('version')));
    const offline = queryFlag(c, 'offline-delete');
    const attached = await state.attachments.get(id);
    if (attached?.value.node !== undefined) {
      throw new DomainError('invalid-state', `volume "${name}" is in state "attached"; detach it first`);
    }
    return services.execution(c).run(
      `delete volume ${id}`,
      (waitMs) => controller.remove(id, { offline, waitMs }),
      async () => ((await state.volumes.get(id)) === undefined ? noContent(c) : services.accepted(c)),
    );
  });

  app.post(`${ITEM}/attach`, async (c) => {
    const { value: volume } = await volumeOf(c);
    const node = (await readBody(c, attachment)).nodeID as NodeId;
    requireReady(volume);
    const target = await state.nodes.require(node);
    if (views.health(node) === 'offline') {
      throw new DomainError('node-unavailable', `node "${target.value.name}" is offline`);
    }
    const current = await state.attachments.get(volume.id);
    const holder = current?.value.node;
    if (holder !== undefined && holder !== node) {
      const name = state.nodes.cached.get(holder)?.value.name ?? holder;
      throw new DomainError('in-use', `volume "${volume.name}" is attached to node "${name}"`);
    }
    const attachedThere = [...state.attachments.cached.values()].filter(({ value }) => value.node === node).length;
    if (holder === undefined && attachedThere >= MAX_ATTACHMENTS_PER_NODE) {
      throw new DomainError('no-capacity', `node "${target.value.name}" has its maximum of ${attachedThere} volumes`);
    }
    return services.execution(c).run(
      `attach volume ${volume.id}`,
      (waitMs) => controller.attach(volume.id, node, { waitMs }),
      async () => {
        const reached = (await state.attachments.get(volume.id))?.value.node === node;
        return reached ? noContent(c) : services.accepted(c);
      },
    );
  });

  app.delete(`${ITEM}/attach`, async (c) => {
    const volume = await volumeOf(c);
    checkVersion(volume, expectedVersion(c, c.req.query('version')));
    const { id } = volume.value;
    return services.execution(c).run(
      `detach volume ${id}`,
      (waitMs) => controller.detach(id, { waitMs }),
      async () => {
        const reached = (await state.attachments.get(id))?.value.node === undefined;
        return reached ? noContent(c) : services.accepted(c);
      },
    );
  });

  app.put(`${ITEM}/replicas`, async (c) => {
    const { value } = await volumeOf(c);
    const { replicas = 0, version } = await readBody(c, replicaChange);
    await state.volumes.update(
      value.id,
      (volume) => {
        if (volume.phase === 'deleting') requireReady(volume);
        if (volume.failureMode.kind === 'threshold' && requiredReplicas(volume.failureMode, MAX_REPLICAS) > replicas) {
          throw new DomainError(
            'invalid-state',
            `label "${LABEL_REPLICAS}" with value "${replicas}" conflicts with label "${LABEL_FAILURE_MODE}" with value "${failureModeText(volume.failureMode)}"`,
          );
        }
        const labels = { ...volume.labels, [LABEL_REPLICAS]: String(replicas) };
        return { ...volume, replicas, labels, updatedAt: services.now() };
      },
      expectedVersion(c, version),
    );
    await tellController(value.id);
    return services.accepted(c);
  });

  app.put(`${ITEM}/failure-mode`, async (c) => {
    const { value } = await volumeOf(c);
    const body = await readBody(c, failureModeChange);
    const mode = requestedFailureMode(body);
    const membership = await state.membershipStore.read(value.id);
    await state.volumes.update(
      value.id,
      (volume) => chooseFailureMode(volume, membership, mode, services.now()),
      expectedVersion(c, body.version),
    );
    await tellController(value.id);
    return answerVolume(c, value.id);
  });

  app.put(`${ITEM}/debug/verify`, async (c) => {
    const { value } = await volumeOf(c);
    requireReady(value);
    return c.json(await controller.verify(value.id));
  });
}
