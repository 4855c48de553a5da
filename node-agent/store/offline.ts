/**
 * Looking at a data directory that no agent is using, for `storageos debug store` and `debug verify`: the directory
 * is opened, each deployment inspected, and the report put into words.
 */

import { readBootId, systemClock, systemRandom } from '../clock.js';
import { loadCodec } from '../codec/index.js';
import type { Damage } from './errors.js';
import { openFileDisk } from './file-disk.js';
import { type DeploymentReport, inspect, type SegmentReport } from './inspection.js';
import type { Superblock } from './superblock.js';

export type { DeploymentReport } from './inspection.js';

const MIB = 1024 * 1024;

const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
const percent = (part: number): string => `${(100 * part).toFixed(0).padStart(3)} %`;
const liveRatio = ({ bytes, liveBytes }: SegmentReport): number => (bytes === 0 ? 1 : liveBytes / bytes);

export interface OfflineOptions {
  /** The agent's ROOT_DIR. */
  readonly rootDir: string;
  /** Read every block and every batch too, not only what opening reads. */
  readonly deep: boolean;
  /** Volumes or deployments by their ids; all if there are none. */
  readonly only: readonly string[];
}

/**
 * The directory's deployments, one after the other; nothing is changed. Errors: DiskError 'locked' while an agent
 * uses the directory, 'not-found' if it is none.
 */
export async function* inspectOffline({ rootDir, deep, only }: OfflineOptions): AsyncGenerator<DeploymentReport> {
  const codec = await loadCodec({ workers: 0 });
  try {
    const environment = {
      disk: openFileDisk(rootDir),
      clock: systemClock,
      random: systemRandom,
      bootId: readBootId(),
      checksums: codec.checksums.bind(codec),
    };
    yield* inspect(environment, deep, only.length > 0 ? new Set(only) : undefined);
  } finally {
    await codec.close();
  }
}

/** How many things are wrong with the deployment. */
export function wrong({ damages, more }: DeploymentReport): number {
  return damages.length + more;
}

/** The report in lines for people; `layout`: superblock copies and segments too. */
export function describeReport(report: DeploymentReport, layout: boolean): string {
  const lines = [...summary(report)];
  if (layout) lines.push(...details(report));
  for (const damage of report.damages) lines.push(`  WRONG: ${describeDamage(damage)}`);
  if (report.more > 0) lines.push(`  WRONG: ${report.more} more`);
  return lines.join('\n');
}

function describeDamage({ path, offset, what }: Damage): string {
  return `${path} at ${offset}: ${what}`;
}

function* summary({ directory, superblock, contents }: DeploymentReport): Generator<string> {
  yield `${directory}: deployment ${superblock?.deployment ?? 'unknown'}`;
  if (superblock !== undefined) {
    const { volume, blocks, blockSize, promised, scrub } = superblock;
    yield `  volume ${volume}, ${mib(blocks * blockSize)} of ${blockSize} bytes a block`;
    yield `  epoch promised ${promised}, ${state(superblock)}`;
    yield `  scrub: pass ${scrub.passes + 1} at block ${scrub.next}`;
  }
  if (contents === undefined) {
    yield '  does not open';
    return;
  }
  const { lastEpoch, lastSequence, floor, usedBytes, segments, replayedBatches, cutBytes, blocks } = contents;
  const live = segments.reduce((bytes, { liveBytes }) => bytes + liveBytes, 0);
  yield `  ends with ${lastEpoch}/${lastSequence}, log from ${floor}; ${replayedBatches} batches to replay, ${cutBytes} bytes torn`;
  const ratio = percent(usedBytes === 0 ? 1 : live / usedBytes).trim();
  yield `  ${blocks} blocks, ${mib(live)} live of ${mib(usedBytes)} in ${segments.length} segments (${ratio})`;
}

function state({ clean, unclean, syncBase }: Superblock): string {
  const facts = [clean ? 'closed cleanly' : 'not closed cleanly'];
  if (unclean) facts.push('may lack acknowledged writes');
  if (syncBase !== null) facts.push('a sync is incomplete');
  return facts.join(', ');
}

function* details({ superblock, copies, contents }: DeploymentReport): Generator<string> {
  for (const { path, number, problem } of copies) yield `  ${path}: ${problem ?? `update ${number}`}`;
  if (superblock !== undefined) {
    const { checkpoint, durableBatch, opening, devices, history } = superblock;
    const of = checkpoint === null ? 'none' : `${checkpoint.number} of ${checkpoint.bytes} bytes`;
    yield `  checkpoint ${of}; durable up to batch ${durableBatch}; opened ${opening} times; devices ${devices.map(([number]) => number).join(', ')}`;
    yield `  history ${history.map(({ epoch, startsAfter }) => `${epoch}>${startsAfter}`).join(' ') || 'empty'}`;
  }
  for (const segment of contents?.segments ?? []) {
    const { path, bytes, liveBlocks, lastSequence } = segment;
    yield `  ${path}  ${mib(bytes).padStart(9)}  ${percent(liveRatio(segment))} live, ${liveBlocks} blocks, stream up to ${lastSequence || '-'}`;
  }
}
