/** `cluster.json`: what is where, for scripts and for the other commands. Rewritten whole on every change. */

import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { ClusterError } from './errors.js';

/** `stopped`: cleanly; `killed`: by SIGKILL through this program; `failed`: it ended by itself. */
export type NodeState = 'starting' | 'running' | 'stopped' | 'killed' | 'failed';

export interface NodeFacts {
  readonly name: string;
  readonly id: string;
  readonly state: NodeState;
  readonly pid?: number;
  /** host:port each. */
  readonly apiEndpoint: string;
  readonly ioEndpoint: string;
  readonly gossipEndpoint: string;
  readonly rootDir: string;
  readonly socketDir: string;
  readonly deviceDir: string;
  readonly log: string;
}

export interface VolumeFacts {
  readonly namespace: string;
  readonly name: string;
  readonly id: string;
  /** Name of the node to which it is attached. */
  readonly attachedOn?: string;
  readonly nbdUri?: string;
  readonly device?: string;
  readonly mountPoint?: string;
}

export interface ClusterFacts {
  readonly format: 1;
  /** The supervisor. */
  readonly pid: number;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly dataDir: string;
  readonly controlSocket: string;
  /** `{ username, password }`, mode 0600. */
  readonly credentialsFile: string;
  readonly etcd: { readonly endpoints: readonly string[]; readonly pid?: number };
  readonly temporal: {
    readonly address: string;
    readonly namespace: string;
    readonly ui?: string;
    readonly pid?: number;
  };
  readonly nodes: readonly NodeFacts[];
  readonly volumes: readonly VolumeFacts[];
}

export function writeFacts(path: string, facts: ClusterFacts): void {
  writeFileSync(`${path}.new`, `${JSON.stringify(facts, null, 2)}\n`, { mode: 0o644 });
  renameSync(`${path}.new`, path);
}

/** Errors: ClusterError('not-running') if there is no such file. */
export function readFacts(path: string): ClusterFacts {
  try {
    return JSON.parse(readFileSync(path, 'utf8')) as ClusterFacts;
  } catch (cause) {
    throw new ClusterError('not-running', `No cluster is running: there is no readable ${path}.`, { cause });
  }
}
