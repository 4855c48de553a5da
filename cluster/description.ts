/** A running cluster in words, for people. */

import type { ClusterFacts } from './facts.js';

function table(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]?.map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0))) ?? [];
  return rows
    .map((row) => `  ${row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join('  ')}`.trimEnd())
    .join('\n');
}

/** What is where: nodes, servers, volumes. Never the password. */
export function describeCluster(facts: ClusterFacts): string {
  const nodes = facts.nodes.map(({ name, state, apiEndpoint, pid, log }) => [
    name,
    state,
    `http://${apiEndpoint}`,
    pid === undefined ? '-' : `pid ${pid}`,
    log,
  ]);
  const volumes = facts.volumes.flatMap((volume) => {
    const lines = [['volume', `${volume.namespace}/${volume.name} (${volume.id})`]];
    if (volume.attachedOn !== undefined) lines.push(['', `attached to ${volume.attachedOn}`]);
    if (volume.nbdUri !== undefined) lines.push(['', `NBD     ${volume.nbdUri}`]);
    if (volume.device !== undefined) lines.push(['', `device  ${volume.device}`]);
    if (volume.mountPoint !== undefined) lines.push(['', `mounted on ${volume.mountPoint}`]);
    return lines;
  });
  return [
    'Nodes',
    table(nodes),
    '',
    table([
      ['Temporal', `${facts.temporal.ui ?? '(external)'}   (gRPC ${facts.temporal.address})`],
      ['etcd', facts.etcd.endpoints.join(', ')],
      ['data', facts.dataDir],
      ['facts', `${facts.dataDir}/cluster.json`],
      ['credentials', facts.credentialsFile],
      ...volumes,
    ]),
  ].join('\n');
}
