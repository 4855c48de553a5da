import { z } from 'zod';
import { MAX_REPLICAS, MIN_VOLUME_BYTES } from '../../../core/domain.js';
import { DomainError } from '../../../core/errors.js';
import { requiredReplicas } from '../../../core/failure-mode.js';
import { chooseFailureMode, failureModeChange, requestedFailureMode } from '../failure-mode-change.js';
import { failureModeText, LABEL_FAILURE_MODE, LABEL_REPLICAS } from '../labels.js';
import { optional, versionField, wholeNumber } from '../request.js';
import { type Route, route } from '../route.js';
import { acceptedSchema } from '../schemas/common.js';
import { MAX_VOLUME_BYTES } from '../volume-creation.js';
import {
  answerVolume,
  checkVersion,
  ITEM,
  itemParams,
  requireReady,
  tellController,
  volumeOf,
  volumeResponse,
  WRITE,
} from '../volume-requests.js';

export const volumeSettingsRoutes: readonly Route[] = [
  route({
    operationId: 'setReplicas',
    method: 'put',
    path: `${ITEM}/replicas`,
    summary: 'Say how many replicas a volume is to have',
    access: WRITE,
    params: itemParams,
    versioned: 'body',
    body: z.object({ replicas: optional(wholeNumber.max(MAX_REPLICAS)), version: versionField }),
    responses: { 202: { description: 'Replicas are made or removed from now on.', body: acceptedSchema } },
    errors: [422],
    handler: async (call, services) => {
      const { value } = await volumeOf(call, services);
      const { replicas = 0 } = call.body;
      await services.dependencies.state.volumes.update(
        value.id,
        (volume) => {
          if (volume.phase === 'deleting') requireReady(volume);
          const { failureMode } = volume;
          if (failureMode.kind === 'threshold' && requiredReplicas(failureMode, MAX_REPLICAS) > replicas) {
            throw new DomainError(
              'invalid-state',
              `label "${LABEL_REPLICAS}" with value "${replicas}" conflicts with label "${LABEL_FAILURE_MODE}" with value "${failureModeText(failureMode)}"`,
            );
          }
          const labels = { ...volume.labels, [LABEL_REPLICAS]: String(replicas) };
          return { ...volume, replicas, labels, updatedAt: services.now() };
        },
        call.expectedVersion,
      );
      await tellController(services, value.id);
      return services.accepted();
    },
  }),

  route({
    operationId: 'resizeVolume',
    method: 'put',
    path: `${ITEM}/size`,
    summary: 'Make a volume larger',
    description: 'This version refuses every size but the one that the volume has.',
    access: WRITE,
    params: itemParams,
    versioned: 'body',
    async: true,
    body: z.object({
      sizeBytes: wholeNumber.min(MIN_VOLUME_BYTES).max(MAX_VOLUME_BYTES).meta({ format: 'uint64' }),
      version: versionField,
    }),
    responses: { 200: volumeResponse },
    errors: [422],
    handler: async (call, services) => {
      const volume = await volumeOf(call, services);
      checkVersion(volume, call.expectedVersion);
      const { name, sizeBytes, blockSize } = volume.value;
      const wanted = Math.ceil(call.body.sizeBytes / blockSize) * blockSize;
      if (wanted < sizeBytes) {
        throw new DomainError('invalid', `volume "${name}" has ${sizeBytes} bytes: volumes cannot become smaller`);
      }
      if (wanted > sizeBytes) {
        throw new DomainError('invalid-state', `volume "${name}" cannot grow: this version does not resize volumes`);
      }
      return answerVolume(services, volume.value.id);
    },
  }),

  route({
    operationId: 'setFailureMode',
    method: 'put',
    path: `${ITEM}/failure-mode`,
    summary: 'Say what a volume does when replicas are lost',
    description: 'Either `mode` or `failureThreshold`; neither is a threshold of 0.',
    access: WRITE,
    params: itemParams,
    versioned: 'body',
    body: failureModeChange,
    responses: { 200: volumeResponse },
    errors: [409, 422],
    handler: async (call, services) => {
      const { state } = services.dependencies;
      const { value } = await volumeOf(call, services);
      const mode = requestedFailureMode(call.body);
      const membership = await state.membershipStore.read(value.id);
      await state.volumes.update(
        value.id,
        (volume) => chooseFailureMode(volume, membership, mode, services.now()),
        call.expectedVersion,
      );
      await tellController(services, value.id);
      return answerVolume(services, value.id);
    },
  }),
];
