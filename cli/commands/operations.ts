/** What the cluster is doing. */

import { setTimeout as sleep } from 'node:timers/promises';
import { ApiError } from '../../client/errors.js';
import type { ApiOperation } from '../../client/types.js';
import { type Context, show } from '../context.js';
import { type Cell, formatAge, formatBytes, formatTable, type View } from '../format.js';

const WATCH_INTERVAL_MS = 1000;
const CLEAR_SCREEN = '\u001b[H\u001b[2J';

export interface OperationFlags {
  readonly allNamespaces?: boolean;
  readonly watch?: boolean;
}

/** What an operation is about, by names. */
interface NamedOperation {
  readonly operation: ApiOperation;
  readonly namespaceName: string;
  readonly volumeName: string;
  readonly nodeName: string;
}

export async function showOperations(context: Context, names: string[], flags: OperationFlags): Promise<void> {
  const { client, streams } = context;
  if (flags.watch !== true) return print(context, await look(context, names, flags));
  if (!client.settings.timeoutGiven) client.allowAtLeast(Number.MAX_SAFE_INTEGER);
  while (client.remainingMs > 0) {
    const operations = await look(context, names, flags).catch((error: unknown) => {
      if (error instanceof ApiError && client.remainingMs === 0) return undefined;
      throw error;
    });
    if (operations === undefined) return;
    if (streams.interactive === true) streams.out(CLEAR_SCREEN);
    await print({ ...context, nowMs: Date.now() }, operations);
    await sleep(Math.min(WATCH_INTERVAL_MS, client.remainingMs));
  }
}

async function look({ client }: Context, names: string[], flags: OperationFlags): Promise<NamedOperation[]> {
  const [operations, namespaces, nodes] = await Promise.all([
    client.get<ApiOperation[]>('/operations'),
    client.namespaces(),
    client.nodes(),
  ]);
  const all = flags.allNamespaces === true;
  const namespace = all ? undefined : await client.namespace();
  const nameOf = (list: readonly { readonly id: string; readonly name: string }[], id: string) =>
    list.find((item) => item.id === id)?.name ?? id;
  const named = operations.map((operation) => ({
    operation,
    namespaceName: nameOf(namespaces, operation.namespaceID),
    volumeName: operation.volumeName === '' ? operation.volumeID : operation.volumeName,
    nodeName: nameOf(nodes, operation.nodeID),
  }));
  const within = named.filter(({ operation }) => namespace === undefined || operation.namespaceID === namespace.id);
  if (names.length === 0) return within;
  const { useIds } = client.settings;
  return within.filter(({ operation, volumeName }) => names.includes(useIds ? operation.volumeID : volumeName));
}

async function print(context: Context, operations: readonly NamedOperation[]): Promise<void> {
  await show(context, {
    text: () => operationTable(operations, context),
    json: operations.map(({ operation, namespaceName, nodeName }) => ({ ...operation, namespaceName, nodeName })),
  });
}

function progressCell({ progress }: ApiOperation): string {
  if (progress === undefined || progress === null) return '';
  const left = progress.secondsLeft === undefined ? '' : `, ${progress.secondsLeft}s left`;
  return `${Math.floor(progress.percent)}% (${formatBytes(progress.bytesCopied)} copied${left})`;
}

/** The last column is not cut: it says in a sentence what goes on. */
function operationTable(operations: readonly NamedOperation[], view: View): string {
  const rows = operations.map(({ operation, namespaceName, volumeName, nodeName }): Cell[] => [
    namespaceName,
    volumeName,
    operation.kind,
    nodeName,
    formatAge(operation.startedAt, view.nowMs),
    progressCell(operation),
    operation.waitsFor === ''
      ? operation.summary
      : { text: `${operation.summary}; ${operation.waitsFor}`, colour: 'yellow' },
  ]);
  return formatTable(['NAMESPACE', 'VOLUME', 'OPERATION', 'NODE', 'STARTED', 'PROGRESS', 'STATE'], rows, view);
}
