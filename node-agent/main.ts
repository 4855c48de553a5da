/** The agent's process. Ends with 0 after SIGTERM or SIGINT, with 1 when it cannot start. */

import process from 'node:process';
import { DomainError } from '../core/errors.js';
import { type Agent, startAgent } from './agent.js';
import { type Config, readConfig } from './config.js';
import { RecentLines } from './diagnostics/recent-lines.js';
import { createLog } from './log.js';

/** An agent that does not stop within this time is ended: what was flushed is safe, the rest is replayed, ms. */
const STOP_TIMEOUT_MS = 30_000;

function configure(): Config {
  try {
    return readConfig(process.env);
  } catch (error) {
    process.stderr.write(`${(error as Error).message}\n`);
    process.exit(1);
  }
}

const config = configure();
const recent = new RecentLines();
const log = createLog({ level: config.logLevel, format: config.logFormat, node: config.nodeName, recent });
const { logger } = log;
let agent: Agent | undefined;
let stopping = false;

async function stop(reason: string): Promise<void> {
  if (stopping) return;
  stopping = true;
  logger.info({ reason }, 'agent stops');
  setTimeout(() => {
    logger.error({ timeoutMs: STOP_TIMEOUT_MS }, 'agent does not stop; it is ended');
    process.exit(1);
  }, STOP_TIMEOUT_MS).unref();
  await agent?.stop();
  logger.info('agent stopped');
  process.exit(0);
}

process.on('SIGTERM', () => void stop('SIGTERM'));
process.on('SIGINT', () => void stop('SIGINT'));
// A supervisor that started this process with an IPC channel takes it along when it ends.
process.on('disconnect', () => void stop('the supervisor is gone'));
// It went before anybody listened; undefined where there never was a channel.
if (process.connected === false) void stop('the supervisor is gone');
process.on('uncaughtException', (err) => {
  logger.fatal({ err }, 'defect: the agent ends at once and starts anew');
  process.exit(1);
});

try {
  agent = await startAgent(config, log, recent);
  logger.info({ nodeId: agent.node }, 'agent ready');
} catch (err) {
  // What says what to mend needs no stack, which would hide it in the last lines that a supervisor shows.
  const details = err instanceof DomainError ? {} : { err };
  logger.fatal({ ...details, reason: (err as Error).message }, 'agent cannot start');
  process.exit(1);
}
