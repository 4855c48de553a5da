/**
 * The embedded cluster licenses itself: it has a key of its own and applies a developer licence, so that who tries it
 * is not stopped after a day. Where LICENCE_PUBLIC_KEY_FILE is given, its owner's licences count and nothing is done.
 */

import { join } from 'node:path';
import type { ApiClient } from '../client/api.js';
import {
  createSigningKey,
  DEVELOPER_CAPACITY_GIB,
  DEVELOPER_KIND,
  issueLicence,
  loadPrivateKey,
  writePublicKey,
} from '../node-agent/licence/index.js';
import type { DataDir } from './data-dir.js';

const VALID_DAYS = 365;
/** A licence that ends sooner than this is replaced at the next start, ms. */
const RENEWAL_MS = 30 * 24 * 3_600_000;
/** Whom the licences are for that are issued here; others are left alone. */
const CUSTOMER = 'embedded cluster';

function privateKeyFile(dataDir: DataDir): string {
  return join(dataDir.secretsDir, 'licence.key');
}

/** Path of the public key for the agents; made with the private one at the first start. */
export async function ensureLicenceKey(dataDir: DataDir): Promise<string> {
  const path = join(dataDir.secretsDir, 'licence.pub');
  await createSigningKey(privateKeyFile(dataDir));
  await writePublicKey(await loadPrivateKey(privateKeyFile(dataDir)), path);
  return path;
}

interface ShownLicence {
  readonly clusterID: string;
  readonly kind: string;
  readonly customerName: string;
  readonly expiresAt: string;
  readonly version: string;
}

/** Applies a developer licence if there is none, or one from here that ends soon. Errors: ApiError. */
export async function ensureLicence(dataDir: DataDir, api: ApiClient): Promise<void> {
  const shown = await api.get<ShownLicence>('/cluster/licence');
  const ours = shown.kind === 'unregistered' || shown.customerName === CUSTOMER;
  const fresh = shown.kind !== 'unregistered' && Date.parse(shown.expiresAt) - Date.now() > RENEWAL_MS;
  if (!ours || fresh) return;
  const terms = {
    clusterID: shown.clusterID,
    customerName: CUSTOMER,
    kind: DEVELOPER_KIND,
    clusterCapacityGiB: DEVELOPER_CAPACITY_GIB,
    features: [],
  };
  const key = issueLicence(terms, VALID_DAYS, await loadPrivateKey(privateKeyFile(dataDir)), new Date());
  await api.request('PUT', '/cluster/licence', { body: { key, version: shown.version } });
}
