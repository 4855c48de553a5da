/** Command lines of `npm start`, `npm run cluster` and `npm run tour`. */

import { parseArgs } from 'node:util';
import { DataDir, defaultDataDir, MAX_NODES } from './data-dir.js';
import { ClusterError } from './errors.js';

const START_USAGE = `npm start -- [options]

  --nodes N        node agents to run, 1–${MAX_NODES} (3, or as many as there were)
  --data-dir DIR   where everything is kept (${'$XDG_DATA_HOME'}/storageos or ~/.local/share/storageos)
  --network N      addresses of the nodes: 127.0.N.1, 127.0.N.2, … (0; fixed at the first start)
  --bare           no demo volume
  --help`;

export interface StartOptions {
  readonly nodes?: number;
  readonly dataDir: DataDir;
  readonly network?: number;
  readonly bare: boolean;
}

function integer(text: string | undefined, option: string, least: number, most: number): number | undefined {
  if (text === undefined) return undefined;
  const value = Number(text);
  if (!/^\d+$/.test(text) || value < least || value > most) {
    throw new ClusterError('invalid', `--${option} takes a whole number from ${least} to ${most}, not "${text}".`);
  }
  return value;
}

/** Undefined: help was asked for and printed. Errors: ClusterError('invalid'). */
export function readStartOptions(args: readonly string[]): StartOptions | undefined {
  let values: { nodes?: string; 'data-dir'?: string; network?: string; bare?: boolean; help?: boolean };
  try {
    values = parseArgs({
      args: [...args],
      options: {
        nodes: { type: 'string' },
        'data-dir': { type: 'string' },
        network: { type: 'string' },
        bare: { type: 'boolean' },
        help: { type: 'boolean' },
      },
    }).values;
  } catch (error) {
    throw new ClusterError('invalid', `${(error as Error).message}\n\n${START_USAGE}`);
  }
  if (values.help === true) {
    process.stdout.write(`${START_USAGE}\n`);
    return undefined;
  }
  const nodes = integer(values.nodes, 'nodes', 1, MAX_NODES);
  const network = integer(values.network, 'network', 0, 254);
  return {
    ...(nodes !== undefined && { nodes }),
    ...(network !== undefined && { network }),
    dataDir: new DataDir(values['data-dir'] ?? defaultDataDir()),
    bare: values.bare === true,
  };
}

const MANAGE_USAGE = `npm run cluster -- <command> [--data-dir DIR]

  status            what is where
  kill-node NAME    SIGKILL to a node's agent; it stays down until it is started
  stop-node NAME    stops a node's agent cleanly
  start-node NAME   starts a node's agent
  stop-server NAME  stops etcd or temporal: I/O goes on, changes through the API answer 503
  start-server NAME starts it again
  verify VOLUME     compares all copies of a volume (NAME or NAMESPACE/NAME), block by block; code 1 if they differ
  stop              stops the cluster (as Ctrl-C does where it runs)
  destroy           stops the cluster and removes its data directory`;

export const NODE_COMMANDS = ['kill-node', 'stop-node', 'start-node'] as const;
const SERVER_COMMANDS = ['stop-server', 'start-server'] as const;
const SERVERS = ['etcd', 'temporal'] as const;

export type ManageOptions = { readonly dataDir: DataDir } & (
  | { readonly command: 'status' | 'stop' | 'destroy' }
  | { readonly command: (typeof NODE_COMMANDS)[number]; readonly node: string }
  | { readonly command: (typeof SERVER_COMMANDS)[number]; readonly server: (typeof SERVERS)[number] }
  | { readonly command: 'verify'; readonly namespace: string; readonly volume: string }
);

/** Undefined: help was asked for and printed. Errors: ClusterError('invalid') with the usage. */
export function readManageOptions(args: readonly string[]): ManageOptions | undefined {
  let parsed: { values: { 'data-dir'?: string; help?: boolean }; positionals: string[] };
  try {
    parsed = parseArgs({
      args: [...args],
      options: { 'data-dir': { type: 'string' }, help: { type: 'boolean' } },
      allowPositionals: true,
    });
  } catch (error) {
    throw new ClusterError('invalid', `${(error as Error).message}\n\n${MANAGE_USAGE}`);
  }
  if (parsed.values.help === true) {
    process.stdout.write(`${MANAGE_USAGE}\n`);
    return undefined;
  }
  const dataDir = new DataDir(parsed.values['data-dir'] ?? defaultDataDir());
  const [command, node, ...rest] = parsed.positionals;
  if (command === 'verify' && node !== undefined && rest.length === 0) {
    const [volume = node, namespace = 'default'] = node.split('/').reverse();
    return { command, namespace, volume, dataDir };
  }
  const serverCommand = SERVER_COMMANDS.find((name) => name === command);
  const server = SERVERS.find((name) => name === node);
  if (serverCommand !== undefined && server !== undefined && rest.length === 0) {
    return { command: serverCommand, server, dataDir };
  }
  const nodeCommand = NODE_COMMANDS.find((name) => name === command);
  if (nodeCommand !== undefined && node !== undefined && rest.length === 0) {
    return { command: nodeCommand, node, dataDir };
  }
  if ((command === 'status' || command === 'stop' || command === 'destroy') && node === undefined) {
    return { command, dataDir };
  }
  throw new ClusterError('invalid', MANAGE_USAGE);
}
