/**
 * `npm run debug-store -- show DIR` prints what the deployments of a data directory are made of; `verify DIR` reads
 * every block and batch and prints what is wrong, and ends with 1 if anything is. The agent must not be running;
 * nothing is changed.
 */

import { DiskError } from '../../core/ports.js';
import { readBootId, systemClock, systemRandom } from '../clock.js';
import { loadCodec } from '../codec/index.js';
import { openFileDisk } from './file-disk.js';
import { type DeploymentReport, inspect, type SegmentReport } from './inspection.js';

const USAGE =
  'Usage: npm run debug-store -- show|verify DIR\n  DIR: the data directory of an agent that is not running\n';
const MIB = 1024 * 1024;

const mib = (bytes: number): string => `${(bytes / MIB).toFixed(1)} MiB`;
const liveRatio = ({ bytes, liveBytes }: SegmentReport): number => (bytes === 0 ? 1 : liveBytes / bytes);

function* summary({ directory, superblock, contents }: DeploymentReport): Generator<string> {
  yield `${directory}: deployment ${superblock?.deployment ?? 'unknown'}`;
  if (superblock !== undefined) {
    const { volume, blocks, blockSize, promised, unclean, clean, syncBase } = superblock;
    yield `  volume ${volume}, ${mib(blocks * blockSize)} of ${blockSize} bytes a block`;
    yield `  epoch promised ${promised}, ${clean ? 'closed cleanly' : 'not closed cleanly'}${unclean ? ', may lack acknowledged writes' : ''}${syncBase === null ? '' : ', a sync is incomplete'}`;
    yield `  scrub: pass ${superblock.scrub.passes + 1} at block ${superblock.scrub.next}`;
  }
  if (contents === undefined) {
    yield '  does not open';
    return;
  }
  const { lastEpoch, lastSequence, floor, usedBytes, segments, replayedBatches, cutBytes, blocks } = contents;
  const live = segments.reduce((bytes, { liveBytes }) => bytes + liveBytes, 0);
  yield `  ends with ${lastEpoch}/${lastSequence}, log from ${floor}; ${replayedBatches} batches to replay, ${cutBytes} bytes torn`;
  yield `  ${blocks} blocks, ${mib(live)} live of ${mib(usedBytes)} in ${segments.length} segments`;
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
    const percent = (100 * liveRatio(segment)).toFixed(0).padStart(3);
    yield `  ${path}  ${mib(bytes).padStart(9)}  ${percent} % live, ${liveBlocks} blocks, stream up to ${lastSequence || '-'}`;
  }
}

const [command, directory, ...rest] = process.argv.slice(2);
if ((command !== 'show' && command !== 'verify') || directory === undefined || rest.length > 0) {
  process.stderr.write(USAGE);
  process.exitCode = 2;
} else {
  const codec = await loadCodec();
  const options = {
    disk: openFileDisk(directory),
    clock: systemClock,
    random: systemRandom,
    bootId: readBootId(),
    checksums: codec.checksums.bind(codec),
  };
  let deployments = 0;
  let damages = 0;
  try {
    for await (const report of inspect(options, command === 'verify')) {
      deployments++;
      damages += report.damages.length + report.more;
      const lines = command === 'show' ? [...summary(report), ...details(report)] : [...summary(report)];
      for (const { path, offset, what } of report.damages) lines.push(`  WRONG: ${path} at ${offset}: ${what}`);
      if (report.more > 0) lines.push(`  WRONG: ${report.more} more`);
      process.stdout.write(`${lines.join('\n')}\n`);
    }
    process.stdout.write(`${deployments} deployments, ${damages === 0 ? 'nothing' : `${damages} things`} wrong\n`);
    process.exitCode = damages === 0 ? 0 : 1;
  } catch (error) {
    if (!(error instanceof DiskError)) throw error;
    process.stderr.write(`${error.message}\n`);
    process.exitCode = 2;
  }
}
