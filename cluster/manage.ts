/** `npm run cluster -- …`: plays with a running embedded cluster. */

import { setTimeout as sleep } from 'node:timers/promises';
import { clusterApi } from './api.js';
import { callControl } from './control.js';
import type { DataDir } from './data-dir.js';
import { describeCluster } from './description.js';
import { ClusterError } from './errors.js';
import { type ClusterFacts, readFacts } from './facts.js';
import { readManageOptions } from './options.js';
import { identifyProcess } from './process-identity.js';
import { runCommand } from './progress.js';

const STOP_TIMEOUT_MS = 120_000;

async function stopCluster(dataDir: DataDir): Promise<void> {
  const { pid } = readFacts(dataDir.factsFile);
  const supervisor = identifyProcess(pid);
  await callControl(dataDir.socketPath('control.sock'), { command: 'stop' });
  const deadline = performance.now() + STOP_TIMEOUT_MS;
  while (supervisor !== undefined && identifyProcess(pid)?.startTime === supervisor.startTime) {
    if (performance.now() > deadline) throw new ClusterError('timeout', `process ${pid} does not end`);
    await sleep(100);
  }
}

/** Whether all copies are the same. */
async function verifyVolume(dataDir: DataDir, namespace: string, name: string): Promise<boolean> {
  const facts = readFacts(dataDir.factsFile);
  const running = facts.nodes.filter(({ state }) => state === 'running').map(({ apiEndpoint }) => apiEndpoint);
  const api = clusterApi(() => running, await dataDir.credentials());
  const volume = (await api.volumes(await api.namespaceId(namespace))).find((candidate) => candidate.name === name);
  if (volume === undefined) throw new ClusterError('volume', `There is no volume ${namespace}/${name}.`);
  const report = await api.verify(volume);
  const lines = report.deployments.map(({ id, node, blocks, lastOrder }) => {
    const where = facts.nodes.find((known) => known.id === node)?.name ?? node;
    return `${where}  ${id}  ${blocks} blocks, last order ${lastOrder.epoch}.${lastOrder.sequence}`;
  });
  for (const { block, copies } of report.differences) {
    const each = copies.map(({ order, checksum }) => `${order.epoch}.${order.sequence} ${checksum || '-'}`);
    lines.push(`block ${block} differs: ${each.join(' | ')}`);
  }
  const [compared, copies] = [report.deployments.length, (volume.replicas?.length ?? 0) + 1];
  const which = compared < copies ? `The copies in sync, ${compared} of ${copies},` : 'All copies';
  const verdict = report.identical
    ? `${which} hold the same blocks with the same orders and checksums.`
    : `${report.differingBlocks} blocks differ.`;
  process.stdout.write(`${[...lines, verdict].join('\n')}\n`);
  return report.identical;
}

async function main(): Promise<void> {
  const options = readManageOptions(process.argv.slice(2));
  if (options === undefined) return;
  const { dataDir } = options;
  const socket = dataDir.socketPath('control.sock');
  switch (options.command) {
    case 'status': {
      const facts = (await callControl(socket, { command: 'status' })) as ClusterFacts;
      process.stdout.write(`${describeCluster(facts)}\n`);
      return;
    }
    case 'verify':
      if (!(await verifyVolume(dataDir, options.namespace, options.volume))) process.exitCode = 1;
      return;
    case 'stop':
      return await stopCluster(dataDir);
    case 'destroy': {
      if (!dataDir.exists) throw new ClusterError('data-dir', `${dataDir.root} holds no cluster`);
      await stopCluster(dataDir).catch((error: unknown) => {
        if (!(error instanceof ClusterError && error.kind === 'not-running')) throw error;
      });
      // Holding the lock: nobody starts it while it is removed.
      const lock = await dataDir.lock();
      dataDir.destroy();
      lock.close();
      process.stdout.write(`${dataDir.root} is gone.\n`);
      return;
    }
    case 'stop-server':
    case 'start-server':
      await callControl(socket, { command: options.command, server: options.server });
      process.stdout.write(`${options.server} is ${options.command === 'start-server' ? 'running' : 'stopped'}.\n`);
      return;
    default: {
      await callControl(socket, { command: options.command, node: options.node });
      const facts = readFacts(dataDir.factsFile);
      const node = facts.nodes.find(({ name, id }) => name === options.node || id === options.node);
      process.stdout.write(`${options.node} is ${node?.state ?? 'gone'}.\n`);
    }
  }
}

await runCommand(main);
