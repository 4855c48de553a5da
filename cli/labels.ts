/** How commands change the labels of an object. */

import type { ApiLabels } from '../client/types.js';
import { CliError, EXIT } from './errors.js';
import { parseLabels } from './format.js';

const RESERVED_PREFIX = 'storageos.com/';
const RESERVED_LABELS: readonly string[] = [
  'csi.storage.k8s.io/pvc/name',
  'csi.storage.k8s.io/pvc/namespace',
  'csi.storage.k8s.io/pv/name',
];

export interface LabelChange {
  /** Adds to the labels. */
  readonly upsert?: boolean;
  /** Takes labels away. */
  readonly delete?: boolean;
}

export function isReserved(key: string): boolean {
  return key.startsWith(RESERVED_PREFIX) || RESERVED_LABELS.includes(key);
}

/** Labels after the update: replaced as a whole (reserved ones stay), added to, or taken away from. */
export function updatedLabels(current: ApiLabels, args: readonly string[], flags: LabelChange): Record<string, string> {
  if (flags.upsert === true && flags.delete === true) {
    throw new CliError(EXIT.invalidInput, 'give either --upsert or --delete');
  }
  if (flags.delete === true) {
    const removed = new Set(
      args
        .flatMap((arg) => arg.split(','))
        .map((item) => (item.includes('=') ? item.slice(0, item.indexOf('=')) : item)),
    );
    return Object.fromEntries(Object.entries(current).filter(([key]) => !removed.has(key)));
  }
  const given = Object.assign({}, ...args.map(parseLabels)) as Record<string, string>;
  const kept =
    flags.upsert === true ? current : Object.fromEntries(Object.entries(current).filter(([k]) => isReserved(k)));
  return { ...kept, ...given };
}
