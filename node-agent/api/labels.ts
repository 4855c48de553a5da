/** Labels: which are reserved, and what a volume's labels say about it. */

import { z } from 'zod';
import { DEFAULT_TOPOLOGY_KEY, type FailureMode, LABEL_PREFIX, MAX_REPLICAS, type Volume } from '../../core/domain.js';
import { DomainError } from '../../core/errors.js';
import { MAX_LABEL_KEY_CHARS, MAX_LABEL_VALUE_CHARS, MAX_LABELS } from '../state/schemas.js';
import { optional } from './request.js';

export type Labels = Readonly<Record<string, string>>;

export const LABEL_REPLICAS = `${LABEL_PREFIX}replicas`;
export const LABEL_FAILURE_MODE = `${LABEL_PREFIX}failure-mode`;
export const LABEL_NO_COMPRESS = `${LABEL_PREFIX}nocompress`;
export const LABEL_NO_CACHE = `${LABEL_PREFIX}nocache`;
export const LABEL_ENCRYPTION = `${LABEL_PREFIX}encryption`;
const LABEL_TOPOLOGY_AWARE = `${LABEL_PREFIX}topology-aware`;
const LABEL_TOPOLOGY_KEY = `${LABEL_PREFIX}topology-key`;
export const LABEL_COMPUTE_ONLY = `${LABEL_PREFIX}computeonly`;

const KUBERNETES_LABELS: ReadonlySet<string> = new Set([
  'csi.storage.k8s.io/pvc/name',
  'csi.storage.k8s.io/pvc/namespace',
  'csi.storage.k8s.io/pv/name',
]);

/** Reserved labels that are kept as they come, for the parts that read them. */
const KEPT_LABELS: ReadonlySet<string> = new Set(
  [
    'throttle',
    'topology-aware',
    'topology-key',
    'fixed-topology',
    'fixed-topologies',
    'nfs-squash',
    'automatic-data-locality',
    'hint.master',
    'nocache',
  ].map((name) => LABEL_PREFIX + name),
);

export const labelsField = optional(
  z
    .record(z.string().min(1).max(MAX_LABEL_KEY_CHARS), z.string().max(MAX_LABEL_VALUE_CHARS))
    .refine((labels) => Object.keys(labels).length <= MAX_LABELS, `at most ${MAX_LABELS} labels`),
);

/** Only dedicated endpoints change these. */
export function isReserved(key: string): boolean {
  return key.startsWith(LABEL_PREFIX) || KUBERNETES_LABELS.has(key);
}

/**
 * All labels of a volume after a request to replace them: reserved ones must be repeated unchanged.
 * Errors: 'invalid' that names the label.
 */
export function replaceVolumeLabels(current: Labels, requested: Labels): Labels {
  for (const key of new Set([...Object.keys(current), ...Object.keys(requested)])) {
    if (isReserved(key) && current[key] !== requested[key]) {
      throw new DomainError('invalid', `label "${key}" is reserved and cannot be changed here`);
    }
  }
  return requested;
}

/** The same for a node, whose reserved labels are kept if the request leaves them out. Errors: 'invalid'. */
export function replaceNodeLabels(shown: Labels, requested: Labels): Labels {
  for (const [key, value] of Object.entries(requested)) {
    if (isReserved(key) && shown[key] !== value) {
      throw new DomainError('invalid', `label "${key}" is reserved and cannot be changed here`);
    }
  }
  const kept = Object.entries(shown).filter(([key]) => isReserved(key) && key !== LABEL_COMPUTE_ONLY);
  const free = Object.entries(requested).filter(([key]) => !isReserved(key));
  return Object.fromEntries([...kept, ...free]);
}

/** A boolean in the forms of Go's strconv.ParseBool. */
function parseBool(key: string, text: string): boolean {
  if (/^(1|t|T|TRUE|true|True)$/.test(text)) return true;
  if (/^(0|f|F|FALSE|false|False)$/.test(text)) return false;
  throw new DomainError('invalid', `label "${key}": "${text}" is not a boolean`);
}

function parseReplicas(text: string): number {
  if (!/^\d+$/.test(text) || Number(text) > MAX_REPLICAS) {
    throw new DomainError('invalid', `label "${LABEL_REPLICAS}": "${text}" is not a number from 0 to ${MAX_REPLICAS}`);
  }
  return Number(text);
}

/** `hard`, `soft`, `alwayson`, or a number of replicas from 0 to 5. Errors: 'invalid'. */
export function parseFailureMode(text: string): FailureMode {
  if (text === 'hard' || text === 'soft' || text === 'alwayson') return { kind: text };
  if (/^[0-5]$/.test(text)) return { kind: 'threshold', threshold: Number(text) };
  throw new DomainError('invalid', `failure mode "${text.slice(0, 64)}": not hard, soft, alwayson or 0 to 5`);
}

export function failureModeText(mode: FailureMode): string {
  return mode.kind === 'threshold' ? String(mode.threshold) : mode.kind;
}

/** Errors: 'conflict' if the mode asks for more replicas than the volume is to have. */
export function checkFailureMode(mode: FailureMode, replicas: number): void {
  if (mode.kind === 'threshold' && mode.threshold > replicas) {
    throw new DomainError(
      'conflict',
      `label "${LABEL_FAILURE_MODE}" with value "${mode.threshold}" conflicts with label "${LABEL_REPLICAS}" with value "${replicas}"`,
    );
  }
}

/** What the labels of a new volume say about it. Errors: 'invalid', 'conflict'; unknown reserved labels are invalid. */
export function volumeSettings(
  labels: Labels,
): Pick<Volume, 'replicas' | 'failureMode' | 'compression' | 'encryption' | 'placementStrategy'> {
  for (const [key, value] of Object.entries(labels)) {
    if (!key.startsWith(LABEL_PREFIX) || KEPT_LABELS.has(key)) continue;
    if (![LABEL_REPLICAS, LABEL_FAILURE_MODE, LABEL_NO_COMPRESS, LABEL_ENCRYPTION].includes(key)) {
      throw new DomainError('invalid', `label "${key}" with value "${value}" is reserved and not known`);
    }
  }
  const flag = (key: string) => parseBool(key, labels[key] ?? 'false');
  flag(LABEL_NO_CACHE);
  const replicas = parseReplicas(labels[LABEL_REPLICAS] ?? '0');
  const failureMode = parseFailureMode(labels[LABEL_FAILURE_MODE] ?? 'hard');
  checkFailureMode(failureMode, replicas);
  const topologyKey = labels[LABEL_TOPOLOGY_KEY] ?? DEFAULT_TOPOLOGY_KEY;
  return {
    replicas,
    failureMode,
    compression: !flag(LABEL_NO_COMPRESS),
    encryption: flag(LABEL_ENCRYPTION),
    ...(flag(LABEL_TOPOLOGY_AWARE) && { placementStrategy: { kind: 'topology-aware', topologyKey } }),
  };
}
