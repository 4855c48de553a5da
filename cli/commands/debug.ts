/** `storageos debug store` and `debug verify`. */

import { DiskError } from '../../core/ports.js';
import { type DeploymentReport, describeReport, inspectOffline, wrong } from '../../node-agent/store/offline.js';
import { CliError, EXIT } from '../errors.js';
import { print, type Streams } from '../output.js';
import type { OutputFormat } from '../settings.js';

export interface DebugRequest {
  readonly rootDir: string;
  /** Of volumes or deployments; none: all. */
  readonly ids: readonly string[];
  readonly streams: Streams;
  readonly format: OutputFormat;
}

/**
 * `store` reads what opening reads and prints how it is laid out, `verify` reads everything. Errors: CliError
 * 'other' if anything is wrong, 'locked' while an agent runs, 'notFound' for a directory or an id that is not there.
 */
export async function inspectStores(command: 'store' | 'verify', request: DebugRequest): Promise<void> {
  const { rootDir, ids, streams, format } = request;
  const reports: DeploymentReport[] = [];
  let deployments = 0;
  let problems = 0;
  const found = new Set<string>();
  try {
    for await (const report of inspectOffline({ rootDir, deep: command === 'verify', only: ids })) {
      deployments++;
      problems += wrong(report);
      for (const id of [report.superblock?.volume, report.superblock?.deployment]) if (id !== undefined) found.add(id);
      // A deployment at a time: a thorough look at a full disk takes hours.
      if (format === 'text') streams.out(`${describeReport(report, command === 'store')}\n`);
      else reports.push(report);
    }
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    throw refusal(error, rootDir);
  }
  const missing = ids.filter((id) => !found.has(id));
  if (missing.length > 0) throw new CliError(EXIT.notFound, `not in ${rootDir}: ${missing.join(', ')}`);
  await print(streams, format, {
    text: () => `${deployments} deployments, ${problems === 0 ? 'nothing' : `${problems} things`} wrong`,
    json: { rootDir, deployments: reports, problems },
  });
  if (problems > 0) throw new CliError(EXIT.other, `${rootDir}: ${problems} things are wrong`);
}

function refusal(error: DiskError, rootDir: string): CliError {
  switch (error.code) {
    case 'locked':
      return new CliError(EXIT.locked, `${rootDir} is in use: stop the agent first`, { cause: error });
    case 'not-found':
      return new CliError(EXIT.notFound, `${rootDir} is not a data directory`, { cause: error });
    default:
      return new CliError(EXIT.other, error.message, { cause: error });
  }
}
