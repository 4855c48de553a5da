/** Where a cluster for one purpose (the tour, a test) lives: a directory and addresses that nothing else uses. */

import { chmodSync, mkdtempSync } from 'node:fs';
import { join } from 'node:path';
import { checkAgentPorts } from './agent.js';
import { nodeAddress } from './data-dir.js';
import { ClusterError } from './errors.js';

const FIRST_NETWORK = 100;
const NETWORKS = 100;

/** A new directory on a disk, not in memory, that other users can pass through. Tests have a place that goes with them. */
export function temporaryDirectory(purpose: string): string {
  const path = mkdtempSync(join(process.env.STORAGEOS_SCRATCH || '/var/tmp', `storageos-${purpose}-`));
  chmodSync(path, 0o755);
  return path;
}

/** A network n whose addresses 127.0.n.1 … have the agents' ports free. Errors: ClusterError('port'). */
export async function freeNetwork(nodes: number): Promise<number> {
  const offset = process.pid % NETWORKS;
  for (let i = 0; i < NETWORKS; i++) {
    const network = FIRST_NETWORK + ((offset + i) % NETWORKS);
    try {
      for (let node = 1; node <= nodes; node++) await checkAgentPorts(nodeAddress({ network }, node));
      return network;
    } catch (error) {
      if (!(error instanceof ClusterError && error.kind === 'port')) throw error;
    }
  }
  throw new ClusterError('port', `No free addresses for ${nodes} nodes from 127.0.${FIRST_NETWORK}.1 on.`);
}
